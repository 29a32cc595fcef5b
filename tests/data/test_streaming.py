"""Worker processes that stream images: they may be killed, and they end with the training."""

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

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.data import streaming
from crackdet.data.batches import Batch, iter_batches, make_batches, shuffled_indices, to_input
from crackdet.data.dataset import load_splits
from tests.composing import compose
from tests.conftest import TINY
from tests.data.image_files import make_folders
from tests.processes import child_processes, running_processes, wait_until

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
NUM_WORKERS = 5  # more than the threads that would decode
TIMEOUT = 60  # seconds
on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_batches_are_complete_if_a_worker_process_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_pools", streaming.DecoderPools())
    config = compose([*TINY, f"runtime.cache={tmp_path}", "runtime.cache_gib=0"])
    dataset = load_splits(config.data, config.runtime)["train"]
    order = make_batches(shuffled_indices(len(dataset), 0, 0), 2) * 10  # many more than are prefetched
    expected = list(iter_batches(dataset, order, CPU, 1))
    other_children = set(multiprocessing.active_children())  # such as the pools of other tests
    batches_left = iter_batches(dataset, order, CPU, NUM_WORKERS)
    batches = [next(batches_left)]
    workers = list(set(multiprocessing.active_children()) - other_children)
    workers[0].kill()
    batches += batches_left
    assert "the worker processes that decode images died" in caplog.text
    for ours, theirs in zip(batches, expected, strict=True):
        assert torch.equal(to_input(ours.inputs), to_input(theirs.inputs)) and torch.equal(ours.labels, theirs.labels)
    wait_until(lambda: not any(process.is_alive() for process in workers), TIMEOUT)  # else this process could not end


def test_a_closed_stream_does_not_write_into_the_next(tmp_path: Path) -> None:
    data = FolderData(root=str(make_folders(tmp_path / "data", {"crack": 8, "noncrack": 8})), image_size=256)
    large = Image.new("RGB", (5000, 5000), "red")  # takes much longer to decode than the others
    large.save(tmp_path / "data" / "crack" / "0.png")
    dataset = load_splits(data, Runtime(cache=str(tmp_path), cache_gib=0))["train"]
    names = [record.name for record in dataset.records]
    slow = next(index for index, name in enumerate(names) if name == "crack/0.png")
    others = [index for index in range(len(dataset)) if index != slow][: NUM_WORKERS + 1]
    expected = list(iter_batches(dataset, [np.array([index]) for index in others], CPU, 1))
    closed = iter_batches(dataset, [np.array([index]) for index in [others[0], slow, *others[1:]]], CPU, NUM_WORKERS)
    next(closed)
    closed.close()  # type: ignore[attr-defined]
    ours: list[Batch] = []
    for batch in iter_batches(dataset, [np.array([index]) for index in others], CPU, NUM_WORKERS):
        time.sleep(0 if ours else 1)  # until the large image is decoded
        ours.append(batch)
    for batch, theirs in zip(ours, expected, strict=True):
        assert torch.equal(to_input(batch.inputs), to_input(theirs.inputs))


def test_parallel_streams_do_not_mix(tmp_path: Path) -> None:
    config = compose([*TINY, f"runtime.cache={tmp_path}", "runtime.cache_gib=0"])
    dataset = load_splits(config.data, config.runtime)["train"]
    orders = [make_batches(shuffled_indices(len(dataset), 0, epoch), 2) for epoch in range(2)]
    expected = zip(*(iter_batches(dataset, order, CPU, 1) for order in orders), strict=True)
    streams = zip(*(iter_batches(dataset, order, CPU, NUM_WORKERS) for order in orders), strict=True)
    for ours, theirs in zip(streams, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.inputs, other.inputs)


ENDLESS_SCRIPT = f"""
from pathlib import Path
from crackdet.compose import compose
from crackdet.data.dataset import load_splits
from crackdet.data.streaming import stream

if __name__ == "__main__":
    config = compose(["data.num_images=48", "data.image_size=32", "runtime.cache=cache", "runtime.cache_gib=0"])
    dataset = load_splits(config.data, config.runtime)["train"]
    while True:
        for _ in stream(dataset, [[0], [1]] * 20, {NUM_WORKERS}):
            Path("started").touch()
"""


@on_linux
def test_worker_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS_SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "endless.py"], cwd=tmp_path, env=environment)
    wait_until((tmp_path / "started").exists, TIMEOUT)
    workers = workers_of(process)
    process.kill()
    process.wait()
    wait_until(lambda: not workers & running_processes().keys(), TIMEOUT)


@on_linux
def test_a_training_saves_its_state_if_its_process_group_is_terminated(
    tmp_path: Path, base_overrides: list[str]
) -> None:
    endless = ("trainer.max_epochs=100000", "trainer.patience=100000")
    streamed = ("runtime.cache_gib=0", f"runtime.num_workers={NUM_WORKERS}", f"hydra.run.dir={tmp_path / 'hydra'}")
    line = [sys.executable, str(ROOT / "train.py"), *TINY, *base_overrides, *endless, *streamed]
    training = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: any(tmp_path.glob("runs/*/history.csv")), TIMEOUT)
    workers = workers_of(training)
    os.killpg(training.pid, signal.SIGTERM)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors
    assert any(tmp_path.glob("runs/*/resume.pt"))
    wait_until(lambda: not workers & running_processes().keys(), TIMEOUT)


def workers_of(process: "subprocess.Popen[Any]") -> set[int]:
    found = child_processes(process.pid)
    assert len(found) >= NUM_WORKERS
    return found
