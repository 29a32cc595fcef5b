"""Other processes, as tests wait for them and look at them."""

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 120  # seconds: only a test that fails takes so long


def until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def running() -> dict[int, int]:
    """The parent of each process that has not ended, by Linux's account of them."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ends just now
            continue
        if state != "Z":
            found[int(file.parent.name)] = int(parent)
    return found


def children(process: int) -> set[int]:
    """The processes that one has started itself and that have not ended."""
    return {number for number, parent in running().items() if parent == process}
