"""Operating system locks, which are released when the process that holds them dies."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from crackdet.core.files import leads_to

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

NOTICE_AFTER = 2.0  # seconds of waiting before a message is logged


def lock(path: Path) -> FileLock:
    """Return an operating system lock; never a "soft" one, which outlives its process."""
    return FileLock(path, fallback_to_soft=False)


def is_in_place(own: FileLock) -> bool:
    """Return whether a lock that is held is the one at its path, which other processes would find."""
    descriptor = own._context.lock_file_fd  # filelock has no public name for it
    return descriptor is not None and leads_to(Path(own.lock_file), descriptor)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock of this file.

    Needs only read permission, and concurrent checks do not interfere. The check holds the lock for an instant if no
    process does.
    """
    if fcntl is None:
        return path.exists() and _is_held_exclusively(lock(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # missing, of another user who does not share it, or no file
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)  # releases the lock, before a claim gives up
    return False


def _is_held_exclusively(own: FileLock) -> bool:
    try:
        with own.acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def lock_with_notice(path: Path, why: str) -> Iterator[None]:
    """Hold the lock of a file during a block; after `NOTICE_AFTER` seconds log why the process waits.

    Raises:
        OSError: If the file cannot be created, or its file system does not support locks.
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
