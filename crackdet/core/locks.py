"""Locks of the operating system, which die with the process that holds them."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

NOTICE_AFTER = 2.0  # seconds without a word


def lock(path: Path) -> FileLock:
    """A lock of the operating system; never one that only means that a file is there, which outlives its process."""
    return FileLock(path, fallback_to_soft=False)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of this file.

    Asking needs no leave to write, does not show to others who ask, and holds nothing while a process does.
    """
    if fcntl is None:
        return path.exists() and _is_held_exclusively(lock(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, PermissionError):  # of another user, who lets nobody look
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)  # and with it the lock, sooner than a claim gives up
    return False


def _is_held_exclusively(asked: FileLock) -> bool:
    try:
        asked.acquire(timeout=0)
    except Timeout:
        return True
    asked.release()
    return False


@contextmanager
def lock_with_notice(path: Path, why: str) -> Iterator[None]:
    """Holds the lock of a file for the time of a block; where that takes longer it is said that, and why, it waits.

    Raises:
        OSError: where the file cannot be made, or its file system knows no locks.
    """
    own = lock(path)
    try:
        try:
            own.acquire(timeout=NOTICE_AFTER)
        except Timeout:
            log.info("waiting: %s", why)
            own.acquire()
    except NotImplementedError:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path)) from None
    try:
        yield
    finally:
        own.release()
