"""Completion of runs, folders and values in the shell: lists directories only, so that it answers at once."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import typer

from crackdet.store.paths import RUN_ID
from crackdet.store.sweep_record import find_sweeps

STORE = Path("outputs/runs")
SWEEPS = Path("multirun")
MAX_SWEEPS = 50


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Complete `best`, `last`, run ids, and `best:FOLDER`."""
    store = Path(context.params.get("store") or STORE)
    names = ("best", "last", *_run_ids(store), *(f"best:{folder}" for folder in _sweeps()))
    return _matching(names, incomplete)


def complete_folder(incomplete: str) -> list[str]:
    """Complete sweep folders, run stores, and folders that lead to them."""
    parent = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    folders: list[str] = []
    with suppress(OSError):
        folders = [f"{parent / entry.name}" for entry in sorted(os.scandir(parent), key=_name) if entry.is_dir()]
    hidden = [folder for folder in folders if not Path(folder).name.startswith(".")]
    return _matching((f"{STORE}", *map(str, _sweeps()), *hidden), incomplete)


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Return a completion of one of these values."""
    return lambda incomplete: _matching(values, incomplete)


def several_of(*values: str) -> Callable[[str], list[str]]:
    """Return a completion of a list of these values, separated by commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{value}" for value in _matching(values, last) if value not in before.split(",")]

    return complete


def _run_ids(store: Path) -> Iterator[str]:
    with suppress(OSError):
        yield from sorted(entry.name for entry in os.scandir(store) if RUN_ID.fullmatch(entry.name))


def _sweeps() -> list[Path]:
    """Return the folders of sweeps in `multirun`, the newest name first."""
    return sorted(find_sweeps(SWEEPS), reverse=True)[:MAX_SWEEPS]


def _matching(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in dict.fromkeys(values) if value.startswith(incomplete)]


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
