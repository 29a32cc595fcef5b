"""How many workers decode images, and how worker processes end."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait

from crackdet.core.machine import num_cores

MAX_DECODERS = 8  # by default: more of them rarely help


def num_decoders(num_workers: int | None) -> int:
    """Return the number of processes or threads that decode: `num_workers`, or one per core up to a limit."""
    return min(num_cores(), MAX_DECODERS) if num_workers is None else max(num_workers, 1)


def exit_with_parent() -> None:
    """End this worker process as soon as its parent ends, even if the parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
