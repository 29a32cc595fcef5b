"""crackdet: sweeps over crack classifiers, to choose the backbone of a crack detector."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crackdet.summary import Summary

__version__ = "0.1.0"

__all__ = ["load_runs"]


def load_runs(store: str | Path = "outputs/runs") -> "Summary":
    """All runs of a run store (or of a sweep's folder), ranked; each has its settings and its result.

    Raises:
        UserError: where there is no such folder.
    """
    from crackdet.summary import summarise

    return summarise(Path(store))
