"""A run: the handle by which one process claims, publishes and resets a run directory.

`result.json` is written last: a run is finished if it is there and valid. A checkpoint alone means nothing.
"""

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from filelock import Timeout

from crackdet.core.errors import StoreError
from crackdet.core.files import write_checksummed_json
from crackdet.core.locks import lock
from crackdet.store.integrity import file_record, find_corruption, read_result
from crackdet.store.paths import FILES, RunPaths
from crackdet.store.snapshot import RunSnapshot, Status


class AlreadyRunning(Exception):
    """Another process holds the run."""


class Run(RunPaths):
    """A run directory; holds nothing but its paths, so that it can be kept and sent to other processes."""

    def snapshot(self) -> RunSnapshot:
        return RunSnapshot.take(self)

    def status(self) -> Status:
        return self.snapshot().status

    def is_finished(self, identity: str) -> bool:
        """Return whether there is a valid result, with intact files, of the identity with this digest.

        Raises:
            StoreError: If the result is of another identity, or a file cannot be read.
        """
        result = read_result(self)
        corruption = find_corruption(self, result, thorough=True)
        if result is None or corruption is not None:
            return False
        if result.get("identity") != identity:
            raise StoreError(
                f"{self.identity_file}: is another configuration than the one that hashes to {self.id}; "
                f"remove the run: crackdet rm {self.id}"
            )
        return True

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the run for this process, by an operating system lock that is released when the process dies.

        Raises:
            AlreadyRunning: If another process holds it.
            StoreError: If this user may not write to it, or one of its files is a folder.
        """
        with self._lock():
            for name in FILES:  # anything else is replaced or deleted when the file is written
                if (path := self.directory / name).is_dir() and not path.is_symlink():
                    raise StoreError(f"{path}: is a folder, not a file; remove the run: crackdet rm {self.id}")
            for orphan in self.directory.glob(".*.tmp"):  # of a process that died while it wrote
                if orphan.is_symlink() or not orphan.is_dir():
                    orphan.unlink(missing_ok=True)
            yield

    def remove(self) -> None:
        """Delete the run directory.

        Raises:
            AlreadyRunning: If another process holds it.
            StoreError: If this user may not write to it.
        """
        is_lock = self.lock_file.is_file() and not self.lock_file.is_symlink()
        with self._lock() if is_lock else nullcontext():  # nobody can hold anything else
            shutil.rmtree(self.directory)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        own = lock(self.lock_file)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            own.acquire(timeout=0.5, poll_interval=0.05)  # longer than `is_held` takes the lock
        except Timeout:
            raise AlreadyRunning(self.id) from None
        except PermissionError:
            raise StoreError(
                f"{self.directory}: may not be written; it belongs to another user, or the store is not shared: give "
                "the store a group that all users are in, its folders the mode 2775, and train with umask 002"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.EEXIST, errno.ENXIO, errno.ENOTDIR):
                raise
            raise StoreError(
                f"{error.filename or self.lock_file}: is not what a run has there ({error.strerror}); "
                f"remove the run: crackdet rm {self.id}"
            ) from None
        try:
            yield
        finally:
            own.release()

    def publish(self, result: Mapping[str, Any]) -> None:
        """Finish the run: write `result.json` with the digests of the published files."""
        files = [file_record(path) for path in self.published_files if path.exists()]
        write_checksummed_json(self.result_file, {"id": self.id, **result, "files": files})
        self.failure_file.unlink(missing_ok=True)

    def reset(self) -> None:
        """Delete crackdet's files, the result first, but not the lock: another process may be waiting for it."""
        others = (self.failure_file, self.state_file, self.pointing_file, self.mlflow_file)
        for path in (self.result_file, *others, *reversed(self.published_files)):
            path.unlink(missing_ok=True)
