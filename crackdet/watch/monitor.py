"""The runs of a store or a sweep, kept up to date without writing to the store.

An update checks all unfinished runs, then new runs and a part of the finished ones until its time is up: a store may
hold very many. Checking whether a run has a process takes no lock that could block one. A run without a process is
checked again only after its files have changed.
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from crackdet.analysis.ranking import sort_key
from crackdet.analysis.rows import RunRow
from crackdet.core.errors import UserError
from crackdet.core.files import SETTLE_SECONDS
from crackdet.core.locks import is_held
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.store.watcher import RunStamp, StoreWatcher
from crackdet.watch.progress import RunProgress

FINISHED_PER_UPDATE = 1000  # finished runs that an update checks for changes


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """One run as it was last read."""

    id: str
    status: Status
    stamp: RunStamp = RunStamp()
    accuracy: float | None = None  # of a finished run
    reason: str = ""  # why it failed or was pruned
    sort_key: tuple[float, float, float, str] | None = None  # of a finished run: the lowest is the best
    images: tuple[int, str] = (0, "")  # number and digest of its validation images
    progress: RunProgress = RunProgress()  # of an unfinished run

    @property
    def last_epoch(self) -> float:
        """When its last epoch ended; checkpoints do not count."""
        return (self.stamp.file_ns or self.stamp.directory_ns) / 1e9


class StoreMonitor:
    """The runs of a run store, or of a sweep if the folder is that of one.

    Raises:
        UserError: If there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such run store or sweep folder; train.py makes it")
        self.folder = folder
        self.runs: dict[str, WatchedRun] = {}
        self._record = SweepRecord(folder)
        self._record_read: tuple[int, float] = (0, 0.0)  # its modification time, and when it was read
        self._overrides: dict[str, list[str]] = {}  # of the runs of a sweep
        self._common: set[str] = set()  # overrides of all runs of the sweep
        self._store = RunStore(self._record.store() or folder)
        self._watcher = StoreWatcher(self._store)
        self._unfinished: dict[str, None] = {}
        self._new: deque[str] = deque()
        self._new_results: deque[str] = deque()  # new runs that have a result; they are read after the others
        self._in_turn: Iterator[str] = iter(())
        self._best: WatchedRun | None = None

    @property
    def is_sweep(self) -> bool:
        return bool(self._overrides)

    @property
    def num_unread(self) -> int:
        """The number of runs that have not been read yet."""
        return len(self._new) + len(self._new_results)

    @property
    def best(self) -> WatchedRun | None:
        """The run with the highest accuracy, as in `crackdet summary`."""
        if self._best is None:
            rankings: dict[tuple[int, str], list[WatchedRun]] = defaultdict(list)
            for watched in self.runs.values():
                if watched.sort_key is not None:
                    rankings[watched.images].append(watched)
            if rankings:
                _, largest = max(rankings.items(), key=lambda item: (item[0][0], len(item[1])))
                self._best = min(largest, key=lambda watched: watched.sort_key or ())
        return self._best

    def row(self, watched: WatchedRun) -> RunRow:
        """Read what is not kept of a run, such as its settings."""
        return RunRow(Run(self._store.root, watched.id).snapshot(), self._overrides.get(watched.id))

    def overrides(self, watched: WatchedRun) -> list[str]:
        """Return the overrides that not all runs of the sweep have; outside a sweep, those of the run's command."""
        if not self.is_sweep:
            return list(self.row(watched).overrides)
        return [override for override in self._overrides.get(watched.id, []) if override not in self._common]

    def update(self, seconds: float = 1.0) -> list[WatchedRun]:
        """Read what has changed, for at most this long, and return the runs that differ from the last update."""
        deadline = time.monotonic() + seconds
        self._list()
        changed = []
        for run_id in self._due():
            if (watched := self._check(run_id)) is not None:
                changed.append(watched)
            if time.monotonic() > deadline:
                break
        return changed

    def _list(self) -> None:
        """Find runs that are new or gone."""
        if not self._record.file.exists():
            new, gone = self._watcher.update()
            self._new.extend(run.id for run in new)
            for name in gone:
                self._forget(name)
            return
        try:
            mtime_ns = self._record.file.stat().st_mtime_ns
            if self._record_read[0] == mtime_ns and self._record_read[1] - mtime_ns / 1e9 > SETTLE_SECONDS:
                return
            self._record_read = mtime_ns, time.time()
            self._overrides = self._record.runs()
        except (OSError, ValueError):  # gone for a moment, or a line is being written
            return
        self._store = RunStore(self._record.store() or self.folder)
        overrides = self._overrides.values()
        self._common = set.intersection(*map(set, overrides)) if len(overrides) > 1 else set()
        known = self.runs.keys() | set(self._new) | set(self._new_results)
        self._new.extend(run_id for run_id in self._overrides if run_id not in known)
        for gone_id in self.runs.keys() - self._overrides.keys():
            self._forget(gone_id)

    def _due(self) -> Iterator[str]:
        yield from list(self._unfinished)
        while self._new:
            run_id = self._new.popleft()
            if Run(self._store.root, run_id).result_file.exists():
                self._new_results.append(run_id)
            else:
                yield run_id
        while self._new_results:
            yield self._new_results.popleft()
        turn = list(islice(self._in_turn, FINISHED_PER_UPDATE))
        if len(turn) < FINISHED_PER_UPDATE:
            self._in_turn = iter([run_id for run_id in self.runs if run_id not in self._unfinished])
        yield from turn

    def _check(self, run_id: str) -> WatchedRun | None:
        """Read a run if it may have changed, and return it if it has."""
        run, known = Run(self._store.root, run_id), self.runs.get(run_id)
        changed = self._watcher.has_changed(run)
        if known is not None and not changed and (known.status is not Status.RUNNING or is_held(run.lock_file)):
            return None
        try:
            watched = _read(run, self._watcher.stamp(run))
        except OSError:  # removed meanwhile
            self._watcher.forget(run)
            return None
        if watched.status is Status.TODO and not self.is_sweep and watched.stamp == RunStamp():
            self._forget(run_id)
            self._watcher.forget(run)
            return None
        if watched.status is Status.FINISHED or (known is not None and known.status is Status.FINISHED):
            self._best = None
        self.runs[run_id] = watched
        if watched.status is Status.FINISHED:
            self._unfinished.pop(run_id, None)
        else:
            self._unfinished[run_id] = None
        return None if known is not None and replace(known, stamp=watched.stamp) == watched else watched

    def _forget(self, run_id: str) -> None:
        self.runs.pop(run_id, None)
        self._unfinished.pop(run_id, None)
        self._best = None


def _read(run: Run, stamp: RunStamp) -> WatchedRun:
    snapshot = run.snapshot()
    row, result = RunRow(snapshot), snapshot.result or {}
    if snapshot.status is Status.FINISHED:
        images = result.get("valid_images") or 0, result.get("valid_digest") or ""
        return WatchedRun(run.id, snapshot.status, stamp, row.accuracy, sort_key=sort_key(row), images=images)
    return WatchedRun(run.id, snapshot.status, stamp, reason=row.reason, progress=RunProgress.of(snapshot))
