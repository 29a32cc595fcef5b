"""What the results of a large store say, in one file beside its runs: a summary then opens that instead of each.

It is a copy and nothing more. A result counts as known while size and time of its file are as when it was read, and
its run as sound while its folder is too, in which every file appears by a rename. An index that is missing, damaged
or of another version is made anew.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from crackdet.errors import WriteFailed
from crackdet.files import SETTLED, write_text
from crackdet.store import Run

FILE = ".results-3"  # the number changes with the format
SMALLEST = 1000  # runs: fewer are opened one by one
STALE = 0.1  # of the runs unknown to an index make it worth writing again


class Known(NamedTuple):
    """What an index says of a run."""

    stamp: str  # of its result
    folder: int | None  # nanoseconds: when the folder had changed last while all its files were sound; None: were not
    result: Mapping[str, Any]


def read_results(runs: Sequence[Run]) -> set[str]:
    """Reads `result.json` of all these runs of one store, which then know their `result`.

    Gives the ids of those that are finished, whose files need no other look. One that was written over in its place
    since, where its folder did not change, is noticed by what uses it.
    """
    if len(runs) < SMALLEST:
        return set()
    file = runs[0].directory.parent / FILE
    index = _load(file)
    sound: set[str] = set()
    seen: list[tuple[Run, str, int | None]] = []
    groups: dict[str, Any] = {}
    unknown = 0
    for run in runs:
        stamp, folder = _stamp(run)
        known = index.get(run.id)
        if known is not None and known.stamp == stamp:
            run.__dict__["result"] = known.result
            if known.folder == folder:
                sound.add(run.id)
                seen.append((run, stamp, folder))
                continue
        if stamp and run.result is not None:
            unknown += 1
            groups = _share(run.result.get("settings", {}), groups)
            whole = run.damage() is None
            if whole:
                sound.add(run.id)
            seen.append((run, stamp, folder if whole and time.time_ns() - folder > SETTLED * 1e9 else None))
    if unknown > STALE * len(runs):
        with suppress(WriteFailed):  # of a store that may only be read
            write_text(file, _dump(seen))
    return sound


def _stamp(run: Run) -> tuple[str, int]:
    """Size and time of change of a result's file, empty where there is none; and the time of its folder."""
    try:
        result = os.stat(f"{run.directory}/result.json")  # noqa: PTH116  # text, not a Path: done for each run of a store
        return f"{result.st_size} {result.st_mtime_ns}", os.stat(run.directory).st_mtime_ns  # noqa: PTH116
    except OSError:
        return "", 0


def _share(settings: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """These settings, which take over the groups in which they agree with others: a store may have very many runs."""
    for group, value in settings.items():
        if value == others.get(group):
            settings[group] = others[group]
    return settings


def _dump(results: Iterable[tuple[Run, str, int | None]]) -> str:
    """A checksum and, on the second line, all results; names, and settings that many runs have in common, once."""
    shared: dict[str, int] = {}
    names: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    rows: dict[str, Any] = {}
    for run, stamp, folder in results:
        content = {**(run.result or {})}
        settings = content.pop("settings", {})
        places = [shared.setdefault(json.dumps(value), len(shared)) for value in settings.values()]
        named = names.setdefault((tuple(content), tuple(settings)), len(names))
        rows[run.id] = [stamp, folder, named, list(content.values()), places]
    whole = {"shared": [json.loads(value) for value in shared], "names": list(names), "runs": rows}
    text = json.dumps(whole, separators=(",", ":"))
    return f"{_checksum(text.encode())}\n{text}\n"


def _load(file: Path) -> Mapping[str, Known]:
    try:
        checksum, text, *_ = file.read_bytes().split(b"\n")
    except (OSError, ValueError):
        return {}
    if checksum.decode("ascii", "replace") != _checksum(text):
        return {}
    content = json.loads(text)
    shared, names = content["shared"], content["names"]
    found = {}
    for run_id, (stamp, folder, named, values, places) in content["runs"].items():
        figures, groups = names[named]
        result = dict(zip(figures, values, strict=True))
        result["settings"] = dict(zip(groups, map(shared.__getitem__, places), strict=True))
        found[run_id] = Known(stamp, folder, result)
    return found


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
