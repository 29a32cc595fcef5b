"""Learning curves: the histories of a few runs, coloured by combination."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crackdet.analysis.rows import RunRow
from crackdet.report.subsample import subsample

MOST = 60  # runs


@dataclass(frozen=True)
class Curve:
    """The history of one run."""

    run: str
    name: str  # of its combination
    group: int | None  # its place among the best combinations, which have colours; None: in grey
    rows: Sequence[Mapping[str, str]]

    def points(self, column: str) -> list[tuple[int, float]]:
        """(epoch, value) where there is a number."""
        found = []
        for row in self.rows:
            try:
                value = float(row[column])
            except (KeyError, ValueError, TypeError):
                continue
            if math.isfinite(value):
                found.append((int(row["epoch"]), value))
        return found


def learning_curves(ranking: Sequence[RunRow], names: Mapping[str, str], colours: int) -> list[Curve]:
    """Curves of the runs that are drawn: the grey ones first, to lie below; `names` is of each run's combination."""
    best = list(dict.fromkeys(names[entry.id] for entry in ranking))[:colours]
    curves = []
    for entry in subsample(ranking, MOST):
        name = names[entry.id]
        group = best.index(name) if name in best else None
        curves.append(Curve(entry.id, name if group is not None else "others", group, entry.snapshot.history))
    return sorted(curves, key=lambda curve: -1 if curve.group is None else curve.group)
