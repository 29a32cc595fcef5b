"""Wait for other processes and list them."""

import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT = 120  # seconds; only a failing test waits so long


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition did not hold within {seconds} seconds"
        time.sleep(0.05)


def running_processes() -> dict[int, int]:
    """Return the parent of each process that has not ended, as Linux reports them."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if state != "Z":
            parents[int(file.parent.name)] = int(parent)
    return parents


def child_processes(process: int) -> set[int]:
    """Return the processes that this one has started and that have not ended."""
    return {number for number, parent in running_processes().items() if parent == process}
