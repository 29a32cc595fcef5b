"""A run: the handle by which one process claims, publishes and resets a run directory.

`result.json` is written last: a run is finished if it is there and valid. A checkpoint alone means nothing.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from crackdet.core.errors import FolderGone, StoreError
from crackdet.core.files import OpenFolder, checked_folder, write_checksummed_json, write_error
from crackdet.core.locks import is_in_place, lock
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

        Creates the run directory. If the directory or the store is moved, removed or replaced during the block, no
        file is written in its place: writing raises FolderGone, or StoreGone.

        Raises:
            AlreadyRunning: If another process holds it.
            StoreError: If it may not or cannot be written.
        """
        own = lock(self.lock_file)
        try:
            while not own.is_locked:
                self.directory.mkdir(parents=True, exist_ok=True)
                own.acquire(timeout=0.5, poll_interval=0.05)  # longer than `is_held` takes the lock
                if not is_in_place(own):  # the run was removed meanwhile
                    own.release()
        except Timeout:
            raise AlreadyRunning(self.id) from None
        except PermissionError:
            raise StoreError(
                f"{self.directory}: may not be written; it belongs to another user, or the store is not shared: give "
                "the store a group that all users are in, its folders the mode 2775, and train with umask 002"
            ) from None
        except OSError as error:
            if os.path.islink(self.lock_file) or os.path.isdir(self.lock_file):  # noqa: PTH112, PTH114  # may not be looked at
                raise StoreError(
                    f"{self.lock_file}: is a link or a folder, not a lock; remove the run: crackdet rm {self.id}"
                ) from None
            raise StoreError(str(write_error(self.directory, error))) from None
        try:
            with OpenFolder(self.root) as store, checked_folder(self.directory, lambda: self._check(store, own)):
                for orphan in self.directory.glob(".*.tmp"):  # of a process that died while it wrote
                    if orphan.is_symlink() or not orphan.is_dir():
                        orphan.unlink(missing_ok=True)
                yield
        finally:
            own.release()

    def check_files(self) -> None:
        """Raise StoreError if there is a folder in the place of a file; anything else is replaced when written."""
        for name in FILES:
            if (path := self.directory / name).is_dir() and not path.is_symlink():
                raise StoreError(f"{path}: is a folder, not a file; remove the run: crackdet rm {self.id}")

    def _check(self, store: OpenFolder, own: FileLock) -> None:
        """Raise FolderGone if other processes would not find the lock that this process holds."""
        store.check()
        if not is_in_place(own):
            raise FolderGone(
                f"{self.directory}: the run directory was moved, removed or replaced while the run was trained; "
                "nothing was written in its place; move the directory back, and run the same command again"
            )

    def publish(self, result: Mapping[str, Any]) -> None:
        """Finish the run: write `result.json` with the digests of the published files."""
        files = [file_record(path) for path in self.published_files if path.exists()]
        write_checksummed_json(self.result_file, {"id": self.id, **result, "files": files})
        self.failure_file.unlink(missing_ok=True)
        self.attempt_file.unlink(missing_ok=True)

    def reset(self) -> None:
        """Delete crackdet's files, the result first, but not the lock: another process may be waiting for it."""
        others = (self.failure_file, self.attempt_file, self.state_file, self.pointing_file, self.mlflow_file)
        for path in (self.result_file, *others, *reversed(self.published_files)):
            path.unlink(missing_ok=True)
