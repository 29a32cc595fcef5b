"""What the results of a large store say, in one file beside its runs: a summary then opens that instead of each.

It is a copy and nothing more. It holds runs that were sound and had not changed lately, and is believed of a run while
size and time of its result and the time of its folder, in which every file appears by a rename, are as they were then.
An index that is missing, damaged or of another version is made anew.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from crackdet.core.errors import WriteFailed
from crackdet.core.files import SETTLED, write_text
from crackdet.store.run_store import Run

FILE = ".results-5"  # the number changes with the format
SMALLEST = 1000  # runs: fewer are opened one by one
STALE = 0.1  # of the runs unknown to an index make it worth writing again
OWN = ("files", "identity")  # more than half of a result, and of use only to whoever opens the run itself

Result = Mapping[str, Any]


class Stamp(NamedTuple):
    """By what it is told whether a run has changed."""

    size: int  # of its result, bytes
    changed: int  # its result, nanoseconds
    folder: int  # had changed last, nanoseconds


def read_results(runs: Sequence[Run]) -> Mapping[str, Result]:
    """The content of `result.json`, but for `OWN`, of those of these runs that are finished; by id.

    Its settings are `Run.settings`. The runs are of one store; of a small one, whose runs may be opened each, it gives
    none. A run whose file was written over in its place since, where its folder did not change, is noticed by what
    uses it.
    """
    if len(runs) < SMALLEST:
        return {}
    root = runs[0].root
    index = Index.load(root / FILE)
    found: dict[str, Result] = {}
    settled: dict[str, tuple[Stamp, Result]] = {}
    groups: dict[str, Any] = {}
    unknown, began = 0, time.time_ns()
    for run in runs:
        stamp = _stamp(f"{root}/{run.id}")
        if stamp is None:
            continue
        known = index.rows.get(run.id)
        if known is not None and known[:3] == [*stamp]:
            found[run.id] = index.result(known)
            settled[run.id] = stamp, found[run.id]
            continue
        run = run.anew()  # which is forgotten with all that it knows of its files
        if run.result is None or run.damage() is not None:
            continue
        groups = _share(run.settings, groups)
        found[run.id] = {**{name: value for name, value in run.result.items() if name not in OWN}, "settings": groups}
        if began - stamp.folder > SETTLED * 1e9:
            settled[run.id] = stamp, found[run.id]
            unknown += 1
    if unknown > STALE * len(runs):
        for run_id in index.rows.keys() - {run.id for run in runs}:  # of other sweeps in the store
            row, stamp = index.rows[run_id], _stamp(f"{root}/{run_id}")
            if stamp is not None and row[:3] == [*stamp]:
                settled[run_id] = stamp, index.result(row)
        with suppress(WriteFailed):  # of a store that may only be read
            Index.of(settled).save(root / FILE)
    return found


@dataclass
class Index:
    """Results as they stand in the file: what many have in common is there once."""

    rows: dict[str, list[Any]] = field(default_factory=dict)  # by id: the stamp, the shape, numbers, places in `shared`
    shapes: list[list[list[str]]] = field(default_factory=list)  # names of numbers, of other values, of settings
    shared: list[Any] = field(default_factory=list)

    def result(self, row: Sequence[Any]) -> Result:
        shape, numbers, places = row[3:]
        names, others, groups = self.shapes[shape]
        values = [self.shared[place] for place in places]
        result = dict(zip(names, numbers, strict=True))
        result.update(zip(others, values, strict=False))
        result["settings"] = dict(zip(groups, values[len(others) :], strict=True))
        return result

    @classmethod
    def of(cls, results: Mapping[str, tuple[Stamp, Result]]) -> "Index":
        shapes: dict[str, int] = {}
        shared: dict[str, int] = {}
        rows: dict[str, list[Any]] = {}
        for run_id, (stamp, result) in results.items():
            figures = {name: value for name, value in result.items() if isinstance(value, (int, float))}
            settings = result.get("settings", {})
            others = {name: result[name] for name in result if name not in figures and name != "settings"}
            shape = shapes.setdefault(json.dumps([[*figures], [*others], [*settings]]), len(shapes))
            texts = map(json.dumps, [*others.values(), *settings.values()])
            places = [shared.setdefault(text, len(shared)) for text in texts]
            rows[run_id] = [*stamp, shape, [*figures.values()], places]
        return cls(rows, [json.loads(text) for text in shapes], [json.loads(text) for text in shared])

    @classmethod
    def load(cls, file: Path) -> "Index":
        """Empty where the file is missing or damaged."""
        try:
            checksum, text, *_ = file.read_bytes().split(b"\n")
        except (OSError, ValueError):
            return cls()
        if checksum.decode("ascii", "replace") != _checksum(text):
            return cls()
        return cls(**json.loads(text))

    def save(self, file: Path) -> None:
        """A checksum, and on the second line all else.

        Raises:
            WriteFailed: where there is no room, or nothing may be written.
        """
        text = json.dumps(vars(self), separators=(",", ":"))
        write_text(file, f"{_checksum(text.encode())}\n{text}\n")


def _stamp(directory: str) -> Stamp | None:
    """None where there is no result."""
    try:
        result = os.stat(f"{directory}/result.json")  # noqa: PTH116  # text, not a Path: done for each run of a store
        return Stamp(result.st_size, result.st_mtime_ns, os.stat(directory).st_mtime_ns)  # noqa: PTH116
    except OSError:
        return None


def _share(settings: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """These settings, which take over the groups in which they agree with others: a store may have very many runs."""
    for group, value in settings.items():
        if value == others.get(group):
            settings[group] = others[group]
    return settings


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
