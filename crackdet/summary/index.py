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

FILE = ".results-1"  # the number changes with the format
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
    """A checksum and, on the second line, all results; what many runs have in common of their settings once."""
    shared: dict[str, int] = {}
    rows: dict[str, Any] = {}
    for stamp, run in results:
        content = {**(run.result or {})}
        settings = content.pop("settings", {})
        places = {group: shared.setdefault(json.dumps(value), len(shared)) for group, value in settings.items()}
        rows[run.id] = [stamp, content, places]
    text = json.dumps({"shared": [json.loads(value) for value in shared], "runs": rows}, separators=(",", ":"))
    return f"{_checksum(text.encode())}\n{text}\n"


def _load(file: Path) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    try:
        checksum, text, *_ = file.read_bytes().split(b"\n")
    except (OSError, ValueError):
        return {}
    if checksum.decode("ascii", "replace") != _checksum(text):
        return {}
    content = json.loads(text)
    shared = content["shared"]
    return {
        run_id: (stamp, {**result, "settings": {group: shared[place] for group, place in places.items()}})
        for run_id, (stamp, result, places) in content["runs"].items()
    }


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
