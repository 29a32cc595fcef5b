"""The results of a large store in one file beside its runs: a summary opens that file instead of each run.

The index is only a cache. It holds finished runs that had not changed lately, and a row is used as long as size and
modification time of `result.json` and the modification time of the run directory are unchanged. An index that is
missing, damaged or of another version is rebuilt.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crackdet.core.errors import WriteFailed
from crackdet.core.files import SETTLE_SECONDS, write_checksummed_json
from crackdet.core.reading import MIB, load_checksummed_json
from crackdet.store.result import REQUIRED, find_problem
from crackdet.store.run import Run
from crackdet.store.snapshot import RunSnapshot, Status
from crackdet.store.watcher import RunStamp

FILE = ".results-7"  # the number changes with the format
MIN_RUNS = 1000  # smaller stores have no index
MAX_UNKNOWN = 0.1  # of the runs: if more are missing from the index it is written again
MAX_BYTES = 512 * MIB
NOT_INDEXED = ("files", "identity")  # more than half of a result, and needed only when the run itself is opened
INDEXED_FIELDS = {name: field for name, field in REQUIRED.items() if name not in NOT_INDEXED}

Result = Mapping[str, Any]


class IndexedRun(RunSnapshot):
    """A finished run as the index knows it: its result without `NOT_INDEXED`, and its settings."""

    @property
    def settings(self) -> Mapping[str, Any]:
        assert self.result is not None
        return self.result["settings"]  # type: ignore[no-any-return]


def read_snapshots(runs: Sequence[Run]) -> list[RunSnapshot]:
    """Return a snapshot of each of these runs of one store, in a large store by means of its index.

    A file that is overwritten in place while its directory stays unchanged is noticed only when it is used.
    """
    if len(runs) < MIN_RUNS:
        return [run.snapshot() for run in runs]
    root = runs[0].root
    index = Index.read(root)
    snapshots: list[RunSnapshot] = []
    settled: dict[str, tuple[RunStamp, Result]] = {}
    settings: Mapping[str, Any] = {}
    num_unknown, now = 0, time.time()
    for run in runs:
        stamp = RunStamp.read(f"{root}/{run.id}", "result.json")
        row = index.rows.get(run.id)
        if row is not None and row[:3] == [*stamp]:
            result = index.result(row)
            settled[run.id] = stamp, result
            snapshots.append(IndexedRun(run, Status.FINISHED, result))
            continue
        snapshot = run.snapshot()
        if snapshot.status is Status.FINISHED and snapshot.result is not None:
            settings = {  # equal groups of successive runs become one object, which saves memory
                group: settings[group] if value == settings.get(group) else value
                for group, value in snapshot.settings.items()
            }
            result = {name: value for name, value in snapshot.result.items() if name not in NOT_INDEXED}
            result["settings"] = settings
            snapshot = IndexedRun(run, Status.FINISHED, result)
            if now - stamp.directory_ns / 1e9 > SETTLE_SECONDS:
                settled[run.id] = stamp, result
                num_unknown += 1
        snapshots.append(snapshot)
    if num_unknown > MAX_UNKNOWN * len(runs):
        for run_id in index.rows.keys() - {run.id for run in runs}:  # of other sweeps in the store
            row, stamp = index.rows[run_id], RunStamp.read(f"{root}/{run_id}", "result.json")
            if row[:3] == [*stamp]:
                settled[run_id] = stamp, index.result(row)
        with suppress(WriteFailed):  # of a read-only store
            write_checksummed_json(root / FILE, vars(Index.of(settled)), indent=None)
    return snapshots


@dataclass
class Index:
    """Results as they are stored: values that many runs have in common are stored once."""

    rows: dict[str, list[Any]] = field(default_factory=dict)  # by id: stamp, shape, numbers, positions in `shared`
    shapes: list[list[list[str]]] = field(default_factory=list)  # names of numbers, of other values, of settings
    shared: list[Any] = field(default_factory=list)

    @classmethod
    def read(cls, root: Path) -> "Index":
        """Return the index of a store; empty if it is missing or damaged."""
        try:
            index = cls(**load_checksummed_json(root / FILE, MAX_BYTES))
            if all(find_problem(index.result(row), INDEXED_FIELDS) is None for row in index.rows.values()):
                return index
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            pass
        return cls()

    def result(self, row: Sequence[Any]) -> Result:
        shape, numbers, places = row[3:]
        names, others, groups = self.shapes[shape]
        values = [self.shared[place] for place in places]
        result = dict(zip([*names, *others], [*numbers, *values[: len(others)]], strict=True))
        return {**result, "settings": dict(zip(groups, values[len(others) :], strict=True))}

    @classmethod
    def of(cls, results: Mapping[str, tuple[RunStamp, Result]]) -> "Index":
        shapes: dict[str, int] = {}
        shared: dict[str, int] = {}
        rows: dict[str, list[Any]] = {}
        for run_id, (stamp, result) in results.items():
            numbers = {name: value for name, value in result.items() if isinstance(value, (int, float))}
            settings = result.get("settings", {})
            others = {name: result[name] for name in result if name not in numbers and name != "settings"}
            shape = shapes.setdefault(json.dumps([[*numbers], [*others], [*settings]]), len(shapes))
            texts = map(json.dumps, [*others.values(), *settings.values()])
            places = [shared.setdefault(text, len(shared)) for text in texts]
            rows[run_id] = [*stamp, shape, [*numbers.values()], places]
        return cls(rows, [json.loads(text) for text in shapes], [json.loads(text) for text in shared])
