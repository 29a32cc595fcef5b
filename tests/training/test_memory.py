"""Peak memory of a process."""

import subprocess
import sys

import pytest

PEAKS = """
import torch
from crackdet.training.memory import PeakMemory, trim_malloc

def peak(number: int) -> float:
    trim_malloc()
    memory = PeakMemory(torch.device("cpu"))
    alive = []
    for _ in range(4 if number else 0):
        alive = alive[-number + 1 :] if number > 1 else []
        alive.append(torch.ones(128 * 2**20, dtype=torch.uint8))
    return memory.mib()

print(peak(3), peak(1), peak(0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_the_peak_is_the_most_memory_at_once_without_earlier_allocations() -> None:
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, timeout=120, check=True)
    three, one, none = map(float, done.stdout.split())
    assert three == pytest.approx(3 * 128, abs=30) and one == pytest.approx(128, abs=30) and none < 30
