"""The shortest way: a single run that is finished is told so before Hydra is imported."""

import re
from collections.abc import Sequence
from pathlib import Path

from crackdet.core.errors import StoreError
from crackdet.running.command_cache import SINGLE, CommandCache
from crackdet.store.integrity import read_result
from crackdet.store.run import Run

HYDRAS = re.compile(r"[+~]*hydra[./@=]")
PLACES = re.compile(r"hydra\.(run|sweep)\.dir=")  # where logs go: a finished run writes none


def skip_finished(arguments: Sequence[str], conf: Path) -> bool:
    """Whether a command line means one run that is known to be finished; if so, says it.

    `arguments` are those of `train.py`, `conf` is the folder of its configuration.
    """
    parsed = _split(arguments)
    if parsed is None:
        return False
    overrides, folders = parsed
    try:
        run = CommandCache([conf, *folders], f"{SINGLE} config").get(overrides)
    except StoreError:  # told by the long way
        return False
    if run is None:
        return False
    print(finished_line(run))
    return True


def finished_line(run: Run) -> str:
    result = read_result(run)
    assert result is not None, "it is finished"
    return f"already finished {run.id}: accuracy {result['accuracy']:.4f}, {run.directory}"


def _split(arguments: Sequence[str]) -> tuple[list[str], list[Path]] | None:
    """Overrides and further configuration folders; None where Hydra is asked for more than a run."""
    overrides: list[str] = []
    folders: list[Path] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument in ("--config-dir", "-cd"):
            folders.append(Path(next(waiting, "")))
        elif argument.startswith("--config-dir="):
            folders.append(Path(argument.partition("=")[2]))
        elif argument.startswith("-") or (HYDRAS.match(argument) and not PLACES.match(argument)):
            return None
        elif not PLACES.match(argument):
            overrides.append(argument)
    return overrides, folders
