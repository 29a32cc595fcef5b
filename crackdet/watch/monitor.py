"""What is known of the runs of a store or a sweep, kept up to date by looking at what has changed since.

Whatever happens to a run replaces a file of its directory, so the directory's time of change tells whether to read
it again. Runs that are not finished are looked at every time, finished ones in turn, and new ones as long as there
is time: a store may have very many. Nothing is written. Asking whether a run has a process holds no lock while it
has one, and of one that has none it is asked again only when its files have changed.
"""

import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from crackdet.analysis.ranking import sort_key
from crackdet.analysis.rows import RunRow
from crackdet.core.errors import UserError
from crackdet.core.files import SETTLED
from crackdet.core.locks import is_held
from crackdet.store.run_store import Run, RunStore, Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.watch.progress import NO_COURSE, RunProgress, course_of

IN_TURN = 1000  # finished runs that a look asks for changes

Stamp = tuple[int, int, int]  # time of change of a run directory; time and size of its history.csv


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """One run as it was when it was read last."""

    id: str
    status: Status
    stamp: Stamp = (0, 0, 0)
    accuracy: float | None = None  # of a finished run
    reason: str = ""  # why it failed, or was pruned
    sort_key: tuple[float, float, float, str] | None = None  # of a finished run: the least is the best
    images: tuple[int, str] = (0, "")  # that it was validated on: how many, and which
    course: RunProgress = NO_COURSE  # of a run that is not finished
    read: float = 0.0  # when, in seconds of the epoch

    @property
    def changed(self) -> float:
        """When it changed last, in seconds of the epoch."""
        return max(self.stamp[:2]) / 1e9

    @property
    def told(self) -> float:
        """When it told of an epoch last; a checkpoint says nothing of how far it is."""
        return (self.stamp[1] or self.stamp[0]) / 1e9

    def lives(self, run: Run) -> bool:
        """Whether there still is a process, where there was one."""
        return self.status is not Status.RUNNING or is_held(run.lock_file)

    def is_settled(self, stamp: Stamp) -> bool:
        """Whether files with this stamp are those that were read."""
        return stamp == self.stamp and self.read - self.changed > SETTLED


class StoreMonitor:
    """The runs of a run store, or those of a sweep where the folder is one."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where there is no such folder."""
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such run store or sweep folder; train.py makes it")
        self.folder = folder
        self.seen: dict[str, RunSnapshot] = {}
        self._record = SweepRecord(folder)
        self._given: dict[str, list[str]] = {}  # the runs of a sweep, with their overrides
        self._common: set[str] = set()  # overrides that all of them have
        self._store = folder
        self._listed: tuple[int, float] = (0, 0.0)
        self._open: dict[str, None] = {}  # runs that are not finished
        self._new: deque[str] = deque()
        self._results: deque[str] = deque()  # new ones that have a result: they are read after the others
        self._turn: Iterator[str] = iter(())
        self._best: RunSnapshot | None = None

    @property
    def is_sweep(self) -> bool:
        return bool(self._given)

    @property
    def unread(self) -> int:
        """Runs that there was no time for yet."""
        return len(self._new) + len(self._results)

    @property
    def best(self) -> RunSnapshot | None:
        """The max-accuracy run, as `crackdet summary` names it."""
        if self._best is None:
            rankings: dict[tuple[int, str], list[RunSnapshot]] = defaultdict(list)
            for seen in self.seen.values():
                if seen.sort_key is not None:
                    rankings[seen.images].append(seen)
            if rankings:
                _, largest = max(rankings.items(), key=lambda item: (item[0][0], len(item[1])))
                self._best = min(largest, key=lambda seen: seen.sort_key or ())
        return self._best

    def count(self) -> Counter[Status]:
        return Counter(seen.status for seen in self.seen.values())

    def entry(self, seen: RunSnapshot) -> RunRow:
        """For what is not kept of a run, such as its settings."""
        return RunRow(Run(self._store, seen.id), seen.status, self._given.get(seen.id))

    def given(self, seen: RunSnapshot) -> list[str]:
        """The overrides that the sweep does not give to all of its runs; without a sweep, those of the command."""
        if not self.is_sweep:
            return list(self.entry(seen).overrides)
        return [override for override in self._given.get(seen.id, []) if override not in self._common]

    def look(self, seconds: float = 1.0) -> list[RunSnapshot]:
        """Brings the board up to date; gives the runs that are not as they were.

        What cannot be read within so many seconds is left for the next time.
        """
        deadline = time.monotonic() + seconds
        self._list()
        changed = []
        for run_id in self._due():
            if (seen := self._read(run_id)) is not None:
                changed.append(seen)
            if time.monotonic() > deadline:
                break
        return changed

    def _list(self) -> None:
        """Notices runs that are new or gone."""
        source = self._record.file if self._record.file.exists() else self.folder
        try:
            mtime_ns = source.stat().st_mtime_ns
            if self._listed[0] == mtime_ns and self._listed[1] - mtime_ns / 1e9 > SETTLED:
                return
            self._listed = mtime_ns, time.time()
            if source is self.folder:
                ids = {run.id for run in RunStore(self.folder).runs()}
            else:
                self._given, self._store = self._record.runs(), self._record.store() or self.folder
                self._common = set.intersection(*map(set, self._given.values())) if len(self._given) > 1 else set()
                ids = set(self._given)
        except (OSError, ValueError):  # gone for a moment, or a line that is just being written
            return
        known = self.seen.keys() | set(self._new) | set(self._results)
        for gone in self.seen.keys() - ids:
            self._forget(gone)
        order = list(self._given) if self.is_sweep else sorted(ids)
        self._new.extend(run_id for run_id in order if run_id not in known)

    def _due(self) -> Iterator[str]:
        yield from list(self._open)
        while self._new:
            run_id = self._new.popleft()
            if Run(self._store, run_id).result_file.exists():
                self._results.append(run_id)
            else:
                yield run_id
        while self._results:
            yield self._results.popleft()
        turn = list(islice(self._turn, IN_TURN))
        if len(turn) < IN_TURN:
            self._turn = iter([run_id for run_id in self.seen if run_id not in self._open])
        yield from turn

    def _read(self, run_id: str) -> RunSnapshot | None:
        """The run where it is not as it was; None where it is."""
        run, known = Run(self._store, run_id), self.seen.get(run_id)
        stamp = _stamp(run)
        if known is not None and known.is_settled(stamp) and known.lives(run):
            return None
        try:
            seen = _read(run, stamp)
        except OSError:  # removed while it was read: the next listing will say so
            return None
        if seen.status is Status.TODO and not self.is_sweep and stamp == NO_STAMP:
            self._forget(run_id)
            return None
        if seen.status is Status.FINISHED or (known is not None and known.status is Status.FINISHED):
            self._best = None
        self.seen[run_id] = seen
        if seen.status is Status.FINISHED:
            self._open.pop(run_id, None)
        else:
            self._open[run_id] = None
        return None if known is not None and replace(known, stamp=stamp, read=seen.read) == seen else seen

    def _forget(self, run_id: str) -> None:
        self.seen.pop(run_id, None)
        self._open.pop(run_id, None)
        self._best = None


NO_STAMP = (0, 0, 0)


def _stamp(run: Run) -> Stamp:
    try:
        directory = os.stat(run.directory).st_mtime_ns  # noqa: PTH116  # text and Path alike; done for each run
    except OSError:
        return NO_STAMP
    try:
        history = os.stat(run.history_file)  # noqa: PTH116
    except OSError:
        return directory, 0, 0
    return directory, history.st_mtime_ns, history.st_size


def _read(run: Run, stamp: Stamp) -> RunSnapshot:
    read = time.time()
    status = run.status()
    if status is Status.FINISHED:
        result = run.result or {}
        images = int(result.get("valid_images", 0)), str(result.get("valid_digest"))
        place = sort_key(RunRow(run, status))
        return RunSnapshot(run.id, status, stamp, float(result["accuracy"]), sort_key=place, images=images, read=read)
    return RunSnapshot(run.id, status, stamp, reason=RunRow(run, status).reason, course=course_of(run), read=read)
