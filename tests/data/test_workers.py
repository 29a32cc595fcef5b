"""Worker processes that decode many images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crackdet.config.schema import Runtime
from crackdet.data.cache import decode_all
from crackdet.data.records import ImageRecord
from crackdet.data.workers import MIN_IMAGES_FOR_WORKERS
from tests.data.counting_source import CountingSource, pixels_of
from tests.processes import child_processes, running_processes, wait_until


def test_worker_processes_decode_the_same_pixels(tmp_path: Path) -> None:
    source = CountingSource(tmp_path / "readings", unreadable=("0007", "0300"))
    records = [ImageRecord(f"{number}", True, f"{number:04d}") for number in range(MIN_IMAGES_FOR_WORKERS + 10)]
    alone, together = (
        decode_all(source, records, 2, Runtime(cache=str(tmp_path / f"cache{workers}"), num_workers=workers))
        for workers in (0, 2)
    )
    for record in records:
        if record.digest not in source.unreadable:
            assert np.array_equal(alone.read(record), pixels_of(record.digest, 2))
    assert np.array_equal(alone.array, together.array)
    assert alone.unreadable == together.unreadable == {"0007": "truncated", "0300": "truncated"}
    assert len(source.processes()) > 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_worker_processes_end_with_a_killed_command(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "crackdet", "check-data", "data.num_images=20000", "data.image_size=64",
            f"runtime.cache={tmp_path}", "runtime.num_workers=2"]  # fmt: skip
    command = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(
        lambda: len(child_processes(command.pid)) >= 3 or command.poll() is not None
    )  # two workers and a resource tracker
    workers = child_processes(command.pid)
    assert command.poll() is None
    command.kill()
    command.wait()
    wait_until(lambda: not workers & running_processes().keys())
