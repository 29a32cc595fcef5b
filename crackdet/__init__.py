"""crackdet: sweeps over crack classifiers, to choose the backbone of a crack detector."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crackdet.inference.loaded import LoadedRun
    from crackdet.summary import Summary

__version__ = "0.1.0"

__all__ = ["load_run", "load_runs"]


def load_runs(store: str | Path = "outputs/runs") -> "Summary":
    """All runs of a run store (or of a sweep's folder), ranked; each has its settings and its result.

    Raises:
        UserError: where there is no such folder.
    """
    from crackdet.summary import summarise

    return summarise(Path(store))


def load_run(name: str, store: str | Path = "outputs/runs", trust: bool = False) -> "LoadedRun":
    """A run: its settings, history and result, the trained classifier, and its predictions on images.

    `name` is a run id or the beginning of one, `best`, or `best:FOLDER` of a sweep. A network of somebody's own is
    imported only with `trust`.

    Raises:
        UserError: where no run, or more than one, is meant.
    """
    from crackdet.inference.loaded import load_run

    return load_run(name, store, trust)
