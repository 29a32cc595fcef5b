"""Locks of the operating system, which die with the process that holds them."""

from pathlib import Path

from filelock import FileLock, Timeout


def lock(path: Path) -> FileLock:
    """A lock of the operating system; never one that only means that a file is there, which outlives its process."""
    return FileLock(path, fallback_to_soft=False)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of this file; asking takes it for a moment."""
    if not path.exists():
        return False
    asked = lock(path)
    try:
        asked.acquire(timeout=0)
    except Timeout:
        return True
    asked.release()
    return False
