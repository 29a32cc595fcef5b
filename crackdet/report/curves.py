"""Learning curves: the histories of a few runs, coloured by combination."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crackdet.analysis.rows import RunRow
from crackdet.report.formatting import subsample

MAX_RUNS = 60


@dataclass(frozen=True)
class Curve:
    """The history of one run."""

    run: str
    name: str  # of its combination
    colour: int | None  # index among the colours of the best combinations; None: grey
    rows: Sequence[Mapping[str, str]]

    def points(self, column: str) -> list[tuple[int, float]]:
        """Return (epoch, value) of each row that holds a finite number."""
        found = []
        for row in self.rows:
            try:
                value = float(row[column])
            except (KeyError, ValueError, TypeError):
                continue
            if math.isfinite(value):
                found.append((int(row["epoch"]), value))
        return found


def learning_curves(ranking: Sequence[RunRow], names: Mapping[str, str], num_colours: int) -> list[Curve]:
    """Return the curves to draw, the grey ones first so that they lie below.

    Args:
        names: The name of each run's combination, by run id.
    """
    best = list(dict.fromkeys(names[row.id] for row in ranking))[:num_colours]
    curves = []
    for row in subsample(ranking, MAX_RUNS):
        name = names[row.id]
        colour = best.index(name) if name in best else None
        curves.append(Curve(row.id, name if colour is not None else "others", colour, row.snapshot.history))
    return sorted(curves, key=lambda curve: -1 if curve.colour is None else curve.colour)
