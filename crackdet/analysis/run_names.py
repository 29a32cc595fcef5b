"""The names by which a user chooses a run: an id, `best`, `best:FOLDER`, `last`, or the path of its directory."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crackdet.analysis.licenses import with_license
from crackdet.analysis.ranking import rank
from crackdet.analysis.rows import RunRow
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.store.index import read_snapshots
from crackdet.store.paths import RUN_ID
from crackdet.store.run import Run
from crackdet.store.run_folder import RunFolder
from crackdet.store.sweep_record import SweepRecord

BEST, LAST = "best", "last"


class NamedRun(NamedTuple):
    """A run that a user named."""

    run: Run
    note: str = ""  # says which run `best` or `last` stands for; empty for other names


def resolve_run(text: str, store: Path, option: str = "", licenses: Sequence[str] = ()) -> NamedRun:
    """Return the run that a user names.

    - An id, or the beginning of an id or of its hash, if no other run of the store begins so.
    - `best` or `best:last`: the best finished run of the folder's sweep; of a store, that of its newest sweep, or
      without sweeps, that of the runs on the newest validation images.
    - `best:FOLDER`: the best run of a sweep's folder, or of another store.
    - `last`: the run of the folder that finished last.
    - The path of a run directory, or of a file in it.

    Args:
        store: A run store or the folder of a sweep, opened only if the name does not contain a folder.
        option: What the store was given as.
        licenses: That the initial weights of the best run may have; empty: any.

    Raises:
        UserError: If no run or several runs match.
    """
    text = text.strip()
    word, _, name = text.partition(":")
    if word == BEST and name not in ("", LAST):
        return _best(text, RunFolder.open(expand_home(name), "best:"), licenses)
    if os.sep in text.rstrip(os.sep):
        return NamedRun(_by_path(expand_home(text)))
    folder = RunFolder.open(store, option)
    if word == BEST:
        return _best(text, folder, licenses)
    if text == LAST:
        return _last(folder)
    return NamedRun(folder.store.find(text.rstrip(os.sep)))


def _best(text: str, folder: RunFolder, licenses: Sequence[str]) -> NamedRun:
    if folder.is_sweep:
        row, words = _best_of(folder.runs(), licenses), f"the sweep {folder.path}"
    else:
        row, words = _best_of_store(folder, licenses)
    if row is None:
        permitted = f" and has initial weights under {', '.join(licenses)}" if licenses else ""
        raise UserError(f"{text}: no run in {folder.path} is finished{permitted}")
    return NamedRun(row.run, f"{text}: {row.id}, accuracy {row.accuracy:.4f}, the best of {words}")


def _best_of_store(folder: RunFolder, licenses: Sequence[str]) -> tuple[RunRow | None, str]:
    for sweep in folder.sweeps():
        if (row := _best_of([folder.store.run(run_id) for run_id in sweep.runs()], licenses)) is not None:
            return row, f"the newest sweep, {_relative(sweep.directory)}"
    return _best_of(folder.runs(), licenses), f"the runs in {folder.path} on the newest validation images"


def _best_of(runs: Sequence[Run], licenses: Sequence[str]) -> RunRow | None:
    """Return the best finished run; of several sets of validation images, the set whose last run finished last."""
    rankings = rank(with_license(map(RunRow, read_snapshots(runs)), licenses)[0])
    if len(rankings) < 2:
        return rankings[0][0] if rankings else None
    return max(rankings, key=lambda ranking: max(_finished_at(row.run) for row in ranking))[0]


def _last(folder: RunFolder) -> NamedRun:
    runs = [run for run in folder.runs() if _finished_at(run) > 0]
    if not runs:
        raise UserError(f"last: no run in {folder.path} is finished")
    last = max(runs, key=_finished_at)
    return NamedRun(last, f"last: {last.id}, accuracy {RunRow(last.snapshot()).accuracy:.4f}")


def _finished_at(run: Run) -> int:
    """Return when `result.json` was written, in nanoseconds; 0 if there is none."""
    try:
        return run.result_file.stat().st_mtime_ns
    except OSError:
        return 0


def _by_path(path: Path) -> Run:
    for directory in (path, path.parent):
        if RUN_ID.fullmatch(directory.name) and directory.is_dir():
            return RunFolder.open(directory.parent).store.run(directory.name)
    if SweepRecord(path).file.is_file():
        raise UserError(f"{path}: is the folder of a sweep; best:{path} is its best run")
    raise UserError(f"{path}: is not a run directory; give a run directory, a run id, best, best:FOLDER or last")


def _relative(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
