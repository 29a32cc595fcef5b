"""Processes that decode: what becomes of them, and of the training, when either ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crackdet.config.composing import compose
from crackdet.config.schema import FolderData, Runtime
from crackdet.data import streaming
from crackdet.data.batches import iter_batches, make_batches, shuffled_indices
from crackdet.data.dataset import load_splits
from tests.conftest import TINY
from tests.data.pictures import fill
from tests.processes import children, running, until

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
DECODERS = 5  # more than decode in threads
SECONDS = 60  # that what is waited for may take
on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")


def test_batches_come_though_a_process_that_decodes_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_died", set())
    config = compose([*TINY, f"runtime.cache={tmp_path}", "runtime.cache_gib=0"])
    images = load_splits(config.data, config.runtime)["train"]
    order = make_batches(shuffled_indices(len(images), 0, 0), 2) * 10  # many more than are decoded in advance
    expected = list(iter_batches(images, order, CPU, 1))
    loading = iter_batches(images, order, CPU, DECODERS)
    batches = [next(loading)]
    decoders = [process for process in multiprocessing.active_children() if isinstance(process, streaming._Decoder)]
    decoders[0].kill()
    batches += loading
    assert "the processes that decode images died" in caplog.text
    for ours, theirs in zip(batches, expected, strict=True):
        assert torch.equal(ours.images, theirs.images) and torch.equal(ours.labels, theirs.labels)
    until(lambda: not any(process.is_alive() for process in decoders), SECONDS)  # else this process could never end


def test_a_stream_that_is_left_does_not_write_into_the_next(tmp_path: Path) -> None:
    data = FolderData(root=str(fill(tmp_path / "data", {"crack": 8, "noncrack": 8})), image_size=256)
    large = Image.new("RGB", (5000, 5000), "red")  # decoded long after the others
    large.save(tmp_path / "data" / "crack" / "0.png")
    images = load_splits(data, Runtime(cache=str(tmp_path), cache_gib=0))["train"]
    names = [photograph.name for photograph in images.photographs]
    slow = next(index for index, name in enumerate(names) if name == "crack/0.png")
    others = [index for index in range(len(images)) if index != slow][: DECODERS + 1]
    expected = list(iter_batches(images, [np.array([index]) for index in others], CPU, 1))
    left = iter_batches(images, [np.array([index]) for index in [others[0], slow, *others[1:]]], CPU, DECODERS)
    next(left)
    left.close()  # type: ignore[attr-defined]
    ours = []
    for batch in iter_batches(images, [np.array([index]) for index in others], CPU, DECODERS):
        time.sleep(0 if ours else 1)  # until the large one has been decoded
        ours.append(batch)
    for batch, theirs in zip(ours, expected, strict=True):
        assert torch.equal(batch.images, theirs.images)


def test_streams_side_by_side_do_not_mix(tmp_path: Path) -> None:
    config = compose([*TINY, f"runtime.cache={tmp_path}", "runtime.cache_gib=0"])
    images = load_splits(config.data, config.runtime)["train"]
    orders = [make_batches(shuffled_indices(len(images), 0, epoch), 2) for epoch in range(2)]
    expected = zip(*(iter_batches(images, order, CPU, 1) for order in orders), strict=True)
    streams = zip(*(iter_batches(images, order, CPU, DECODERS) for order in orders), strict=True)
    for ours, theirs in zip(streams, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.pixels, other.pixels)


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
    until((tmp_path / "begun").exists, SECONDS)
    children = children_of(process)
    process.kill()
    process.wait()
    until(lambda: not children & running().keys(), SECONDS)


@on_linux
def test_a_training_whose_whole_group_is_asked_to_stop_is_saved(tmp_path: Path, places: list[str]) -> None:
    endless = ("trainer.max_epochs=100000", "trainer.patience=100000")
    streamed = ("runtime.cache_gib=0", f"runtime.num_workers={DECODERS}", f"hydra.run.dir={tmp_path / 'hydra'}")
    line = [sys.executable, str(ROOT / "train.py"), *TINY, *places, *endless, *streamed]
    training = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: any(tmp_path.glob("runs/*/history.csv")), SECONDS)
    children = children_of(training)
    os.killpg(training.pid, signal.SIGTERM)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors
    assert any(tmp_path.glob("runs/*/resume.pt"))
    until(lambda: not children & running().keys(), SECONDS)


def children_of(process: "subprocess.Popen[Any]") -> set[int]:
    found = children(process.pid)
    assert len(found) >= DECODERS
    return found
