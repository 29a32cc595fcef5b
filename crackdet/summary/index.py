"""What the results of a large store say, in one file beside its runs: a summary then opens that instead of each.

It is a copy and nothing more: a result counts as known while size and time of its file are as when it was read, and
an index that is missing, damaged or of another version is made anew.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crackdet.errors import WriteFailed
from crackdet.files import write_text
from crackdet.store import Run

FILE = ".results-2"  # the number changes with the format
SMALLEST = 1000  # runs: fewer are opened one by one
STALE = 0.1  # of the runs unknown to an index make it worth writing again


def read_results(runs: Sequence[Run]) -> None:
    """Reads `result.json` of all these runs of one store, which then know their `result`."""
    if len(runs) < SMALLEST:
        return
    file = runs[0].directory.parent / FILE
    index, stamps = _load(file), {run.id: _stamp(run) for run in runs}
    unknown = 0
    for run in runs:
        stamp, content = index.get(run.id, ("", {}))
        if stamp and stamp == stamps[run.id]:
            run.__dict__["result"] = content
        elif stamps[run.id] and run.result is not None:
            unknown += 1
    if unknown > STALE * len(runs):
        try:
            write_text(file, _dump((stamps[run.id], run) for run in runs if stamps[run.id] and run.result is not None))
        except WriteFailed:  # a store that may only be read
            return


def _stamp(run: Run) -> str:
    """Size and time of change of a result's file; empty where there is none."""
    try:
        status = os.stat(f"{run.directory}/result.json")  # noqa: PTH116  # text, not a Path: done for each run of a store
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _dump(results: Iterable[tuple[str, Run]]) -> str:
    """A checksum and, on the second line, all results; names, and settings that many runs have in common, once."""
    shared: dict[str, int] = {}
    names: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    rows: dict[str, Any] = {}
    for stamp, run in results:
        content = {**(run.result or {})}
        settings = content.pop("settings", {})
        places = [shared.setdefault(json.dumps(value), len(shared)) for value in settings.values()]
        named = names.setdefault((tuple(content), tuple(settings)), len(names))
        rows[run.id] = [stamp, named, list(content.values()), places]
    whole = {"shared": [json.loads(value) for value in shared], "names": list(names), "runs": rows}
    text = json.dumps(whole, separators=(",", ":"))
    return f"{_checksum(text.encode())}\n{text}\n"


def _load(file: Path) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    try:
        checksum, text, *_ = file.read_bytes().split(b"\n")
    except (OSError, ValueError):
        return {}
    if checksum.decode("ascii", "replace") != _checksum(text):
        return {}
    content = json.loads(text)
    shared, names = content["shared"], content["names"]
    found = {}
    for run_id, (stamp, named, values, places) in content["runs"].items():
        figures, groups = names[named]
        result = dict(zip(figures, values, strict=True))
        result["settings"] = dict(zip(groups, map(shared.__getitem__, places), strict=True))
        found[run_id] = (stamp, result)
    return found


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
