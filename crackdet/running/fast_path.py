"""Skip a single finished run before Hydra is imported."""

import re
from collections.abc import Sequence
from pathlib import Path

from crackdet.config.arguments import quote_home
from crackdet.running.command_cache import SINGLE, CommandCache
from crackdet.store.integrity import read_result
from crackdet.store.run import Run

HYDRA_OVERRIDE = re.compile(r"[+~]*hydra[./@=]")
LOG_FOLDER_OVERRIDE = re.compile(r"hydra\.(run|sweep)\.dir=")  # ignored: a skipped run writes no logs


def skip_finished(arguments: Sequence[str], conf: Path) -> bool:
    """Return whether these arguments of `train.py` mean a run that is known to be finished; if so, print its result.

    Args:
        conf: The configuration folder of `train.py`.
    """
    run = None
    if (parsed := _parse_arguments(quote_home(arguments))) is not None:
        overrides, folders = parsed
        run = CommandCache([conf, *folders], f"{SINGLE} config").get(overrides)
    if run is not None:
        print(finished_line(run))
    return run is not None


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
