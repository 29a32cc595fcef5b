"""Find the runs of a store that have changed since the last call, without opening files.

Every file of a run is replaced by renaming, which changes the modification time of the run directory.
"""

import os
import time
from typing import NamedTuple

from crackdet.core.files import SETTLE_SECONDS
from crackdet.store.paths import RunPaths
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore


class RunStamp(NamedTuple):
    """The state of a run directory and of one file in it; all zero if they do not exist."""

    directory_ns: int = 0  # modification time
    file_ns: int = 0
    file_size: int = 0

    @classmethod
    def read(cls, directory: str, file: str) -> "RunStamp":
        try:
            directory_ns = os.stat(directory).st_mtime_ns  # noqa: PTH116  # strings: a store has many runs
        except OSError:
            return cls()
        try:
            status = os.stat(f"{directory}/{file}")  # noqa: PTH116
        except OSError:
            return cls(directory_ns)
        return cls(directory_ns, status.st_mtime_ns, status.st_size)

    @property
    def changed(self) -> float:
        """When the run last changed, in seconds since the epoch."""
        return max(self.directory_ns, self.file_ns) / 1e9


class StoreWatcher:
    """Finds the runs of a store that are new, gone or changed since the last call.

    Args:
        file: A change of this file counts too if it is written in place.

    Raises:
        UserError: As `RunStore.check_version`.
    """

    def __init__(self, store: RunStore, file: str = "history.csv") -> None:
        store.check_version()
        self._store, self._file = store, file
        self._names: set[str] = set()
        self._listed: int | None = None  # modification time of the store's folder, if settled at the last listing
        self._stamps: dict[str, tuple[RunStamp, float]] = {}  # by run id, with the time of reading

    def update(self) -> tuple[list[Run], set[str]]:
        """Return the new runs, by name, and the names that are gone."""
        now = time.time()
        try:
            changed = self._store.root.stat().st_mtime_ns
            if changed == self._listed:
                return [], set()
            names = set(os.listdir(self._store.root))  # noqa: PTH208
        except OSError:
            return [], set()
        self._listed = changed if now - changed / 1e9 > SETTLE_SECONDS else None
        new, gone = names - self._names, self._names - names
        self._names = names
        for name in gone:
            self._stamps.pop(name, None)
        return list(self._store.select(new)), gone

    def has_changed(self, run: RunPaths) -> bool:
        """Return whether a run may have changed since the last call for it; read its files after this call."""
        stamp, now = RunStamp.read(str(run.directory), self._file), time.time()
        last, read_at = self._stamps.get(run.id, (None, 0.0))
        self._stamps[run.id] = stamp, now
        return stamp != last or read_at - stamp.changed <= SETTLE_SECONDS  # a later change may have the same stamp

    def forget(self, run: RunPaths) -> None:
        """Report a run as new in the next update if it is there."""
        self._names.discard(run.id)
        self._listed = None

    def stamp(self, run: RunPaths) -> RunStamp:
        """Return the stamp that the last `has_changed` has read."""
        return self._stamps[run.id][0]
