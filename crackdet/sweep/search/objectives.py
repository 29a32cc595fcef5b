"""What a search optimizes: numbers in `result.json`, each with a direction."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crackdet.config.messages import suggest
from crackdet.core.errors import UserError
from crackdet.store.result import HIGHER_IS_BETTER

NO_PRUNER = "optuna.pruners.NopPruner"  # `hydra/sweeper/pruner=none`

Direction = Literal["maximize", "minimize"]

MINIMIZED = (
    "calibration_error", "loss", "parameters", "feature_parameters", "feature_flops", "detector_flops",
    "seconds", "latency_ms", "feature_latency_ms",
    "peak_memory_mib", "weights_mib",
)  # fmt: skip
DIRECTIONS: dict[str, Direction] = dict.fromkeys(HIGHER_IS_BETTER, "maximize")
DIRECTIONS |= dict.fromkeys(MINIMIZED, "minimize")
BY_EPOCH = ("accuracy", "precision", "recall", "f1", "roc_auc", "loss")  # history.csv has them as valid_NAME


@dataclass(frozen=True)
class Objective:
    name: str
    direction: Direction

    @property
    def column(self) -> str | None:
        """The column of `history.csv` with the value of each epoch; None if only the end of a run has a value."""
        return f"valid_{self.name}" if self.name in BY_EPOCH else None


class MissingObjective(Exception):
    """A result has no number for an objective; the message is the objective's name."""


def parse_objectives(names: Sequence[str], direction: Any) -> list[Objective]:
    """Return the objectives, each with its given direction, or its natural one if `direction` is None.

    Raises:
        UserError: If a name or a direction is unknown, or their numbers differ.
    """
    if not names:
        raise UserError("hydra.sweeper.objectives=[]: must name at least one value, such as accuracy")
    for name in map(str, names):
        if name not in DIRECTIONS:
            raise UserError(f"hydra.sweeper.objectives={name}: no such value of a run{suggest(name, list(DIRECTIONS))}")
    if len(set(names)) < len(names):
        raise UserError(f"hydra.sweeper.objectives=[{','.join(names)}]: names a value twice")
    if direction is None:
        return [Objective(name, DIRECTIONS[name]) for name in names]
    words = [direction] if isinstance(direction, str) or not isinstance(direction, Iterable) else list(direction)
    directions = [str(item).rpartition(".")[2].lower() for item in words]  # Direction.maximize is maximize
    if len(directions) != len(names):
        raise UserError(
            f"hydra.sweeper.direction={','.join(directions)}: must be one direction for each objective "
            f"({','.join(names)}), or null for their natural directions"
        )
    for word in directions:
        if word not in ("maximize", "minimize"):
            raise UserError(f"hydra.sweeper.direction={word}: must be maximize or minimize")
    return [
        Objective(name, "maximize" if word == "maximize" else "minimize")
        for name, word in zip(names, directions, strict=True)
    ]


def values_of(result: Mapping[str, Any], objectives: Sequence[Objective]) -> list[float]:
    """Return the values of the objectives in a result.

    Raises:
        MissingObjective: If one of them is absent or not a finite number.
    """
    values = []
    for objective in objectives:
        value = result.get(objective.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise MissingObjective(objective.name)
        values.append(float(value))
    return values


def dominates(
    one: Sequence[float], other: Sequence[float], objectives: Sequence[Objective], spreads: Sequence[float] = ()
) -> bool:
    """Return whether `one` is worse in no objective and better in at least one, each by more than its spread."""
    gains = [
        (a - b) if objective.direction == "maximize" else (b - a)
        for a, b, objective in zip(one, other, objectives, strict=True)
    ]
    spreads = spreads or [0.0] * len(gains)
    clear = [gain if abs(gain) > spread else 0.0 for gain, spread in zip(gains, spreads, strict=True)]
    return min(clear) >= 0 and max(clear) > 0


def pareto_front(
    values: Sequence[Sequence[float]], objectives: Sequence[Objective], spreads: Sequence[Sequence[float]] = ()
) -> list[int]:
    """Return the positions of the values that no other dominates, best by the first objective first.

    Args:
        spreads: How uncertain each of the values is; 0 unless given.
    """
    sign = -1 if objectives[0].direction == "maximize" else 1

    def is_dominated(index: int, by: int) -> bool:
        pair = [max(both) for both in zip(spreads[index], spreads[by], strict=True)] if spreads else ()
        return dominates(values[by], values[index], objectives, pair)

    indices = range(len(values))
    front = [i for i in indices if not any(is_dominated(i, by) for by in indices)]
    return sorted(front, key=lambda index: sign * values[index][0])
