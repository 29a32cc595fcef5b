"""Skip a single finished run before Hydra is imported."""

import re
from collections.abc import Sequence
from pathlib import Path

from crackdet.core.errors import StoreError
from crackdet.running.command_cache import SINGLE, CommandCache
from crackdet.store.integrity import read_result
from crackdet.store.run import Run

HYDRA_OVERRIDE = re.compile(r"[+~]*hydra[./@=]")
LOG_FOLDER_OVERRIDE = re.compile(r"hydra\.(run|sweep)\.dir=")  # ignored: a skipped run writes no logs


def skip_finished(arguments: Sequence[str], conf: Path) -> bool:
    """Return whether a command line means one run that is known to be finished; if so, print that.

    Args:
        arguments: The arguments of `train.py`.
        conf: The folder of its configuration.
    """
    parsed = _parse_arguments(arguments)
    if parsed is None:
        return False
    overrides, folders = parsed
    try:
        run = CommandCache([conf, *folders], f"{SINGLE} config").get(overrides)
    except StoreError:  # reported when the run is executed
        return False
    if run is None:
        return False
    print(finished_line(run))
    return True


def finished_line(run: Run) -> str:
    result = read_result(run)
    assert result is not None, "it is finished"
    return f"already finished {run.id}: accuracy {result['accuracy']:.4f}, {run.directory}"


def _parse_arguments(arguments: Sequence[str]) -> tuple[list[str], list[Path]] | None:
    """Return the overrides and the additional configuration folders; None if Hydra has more to do than run a job."""
    overrides: list[str] = []
    folders: list[Path] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument in ("--config-dir", "-cd"):
            folders.append(Path(next(remaining, "")))
        elif argument.startswith("--config-dir="):
            folders.append(Path(argument.partition("=")[2]))
        elif argument.startswith("-"):
            return None
        elif not LOG_FOLDER_OVERRIDE.match(argument):
            if HYDRA_OVERRIDE.match(argument):
                return None
            overrides.append(argument)
    return overrides, folders
