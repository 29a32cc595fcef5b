"""Processes that decode: what becomes of them, and of the training, when either ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crackdet.compose import compose
from crackdet.data import load_splits, streaming
from crackdet.data.batches import cut, load, shuffled
from tests.conftest import TINY

ROOT = Path(__file__).parent.parent.parent
CPU = torch.device("cpu")
DECODERS = 5  # more than decode in threads
on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")


def test_batches_come_though_a_process_that_decodes_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_died", set())
    config = compose([*TINY, f"runtime.cache={tmp_path}", "runtime.cache_gib=0"])
    images = load_splits(config.data, config.runtime)["train"]
    order = cut(shuffled(len(images), 0, 0), 2)
    expected = list(load(images, order, CPU, 1))
    loading = load(images, order, CPU, DECODERS)
    batches = [next(loading)]
    decoders = [process for process in multiprocessing.active_children() if isinstance(process, streaming._Decoder)]
    decoders[0].kill()
    batches += loading
    assert "the processes that decode images died" in caplog.text
    for ours, theirs in zip(batches, expected, strict=True):
        assert torch.equal(ours.images, theirs.images) and torch.equal(ours.labels, theirs.labels)
    wait_until(lambda: not any(process.is_alive() for process in decoders))  # else this process could never end


FOR_EVER = f"""
from pathlib import Path
from crackdet.compose import compose
from crackdet.data import load_splits
from crackdet.data.streaming import stream

if __name__ == "__main__":
    config = compose(["data.num_images=48", "data.image_size=32", "runtime.cache=cache", "runtime.cache_gib=0"])
    images = load_splits(config.data, config.runtime)["train"]
    while True:
        for _ in stream(images, [[0], [1]] * 20, {DECODERS}):
            Path("begun").touch()
"""


@on_linux
def test_processes_that_decode_end_with_one_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "forever.py").write_text(FOR_EVER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "forever.py"], cwd=tmp_path, env=environment)
    wait_until((tmp_path / "begun").exists)
    children = children_of(process)
    process.kill()
    process.wait()
    wait_until(lambda: not children & running().keys())


@on_linux
def test_a_training_whose_whole_group_is_asked_to_stop_is_saved(tmp_path: Path, places: list[str]) -> None:
    endless = ("trainer.max_epochs=100000", "trainer.patience=100000")
    streaming = ("runtime.cache_gib=0", f"runtime.num_workers={DECODERS}", f"hydra.run.dir={tmp_path / 'hydra'}")
    line = [sys.executable, str(ROOT / "train.py"), *TINY, *places, *endless, *streaming]
    training = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: any(tmp_path.glob("runs/*/history.csv")))
    children = children_of(training)
    os.killpg(training.pid, signal.SIGTERM)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors
    assert any(tmp_path.glob("runs/*/resume.pt"))
    wait_until(lambda: not children & running().keys())


def children_of(process: "subprocess.Popen[Any]") -> set[int]:
    found = {pid for pid, parent in running().items() if parent == process.pid}
    assert len(found) >= DECODERS
    return found


def running() -> dict[int, int]:
    """The parent of each process that has not ended."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ends just now
            continue
        if state != "Z":
            found[int(file.parent.name)] = int(parent)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
