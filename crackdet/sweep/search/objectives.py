"""What a search makes better: values of `result.json` by their names, each with its direction."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crackdet.config.messages import nearest
from crackdet.core.errors import UserError

Direction = Literal["maximize", "minimize"]

DIRECTIONS: dict[str, Direction] = {
    "accuracy": "maximize",
    "precision": "maximize",
    "recall": "maximize",
    "f1": "maximize",
    "roc_auc": "maximize",
    "average_precision": "maximize",
    "calibration_error": "minimize",
    "loss": "minimize",
    "parameters": "minimize",
    "feature_flops": "minimize",
    "seconds": "minimize",
    "images_per_second": "maximize",
    "latency_ms": "minimize",
    "throughput": "maximize",
    "feature_latency_ms": "minimize",
    "feature_throughput": "maximize",
    "peak_memory_mib": "minimize",
    "weights_mib": "minimize",
}
BY_EPOCH = ("accuracy", "precision", "recall", "f1", "roc_auc", "loss")  # history.csv has them as valid_NAME


@dataclass(frozen=True)
class Objective:
    name: str
    direction: Direction

    @property
    def column(self) -> str | None:
        """Where `history.csv` has it for each epoch; None where it is known at the end only."""
        return f"valid_{self.name}" if self.name in BY_EPOCH else None


class MissingObjective(Exception):
    """A result without a value that is an objective."""


def parse_objectives(names: Sequence[str], direction: Any) -> list[Objective]:
    """Objectives with their own directions, or with those that are given, one for each.

    Raises:
        UserError: for a name or a direction that is not known, and where their numbers differ.
    """
    if not names:
        raise UserError("hydra.sweeper.objectives=[]: must name at least one value, such as accuracy")
    for name in names:
        if name not in DIRECTIONS:
            raise UserError(f"hydra.sweeper.objectives={name}: no such value of a run{nearest(name, list(DIRECTIONS))}")
    if len(set(names)) < len(names):
        raise UserError(f"hydra.sweeper.objectives=[{','.join(names)}]: names a value twice")
    if direction is None:
        return [Objective(name, DIRECTIONS[name]) for name in names]
    words = [direction] if isinstance(direction, str) or not isinstance(direction, Iterable) else list(direction)
    given = [str(word).rpartition(".")[2].lower() for word in words]
    if len(given) != len(names):
        raise UserError(
            f"hydra.sweeper.direction={','.join(given)}: must be one for each objective, {','.join(names)}; "
            "or null: the natural ones"
        )
    objectives = []
    for name, word in zip(names, given, strict=True):
        if word not in ("maximize", "minimize"):
            raise UserError(f"hydra.sweeper.direction={word}: must be maximize or minimize")
        objectives.append(Objective(name, "maximize" if word == "maximize" else "minimize"))
    return objectives


def values_of(result: Mapping[str, Any], objectives: Sequence[Objective]) -> list[float]:
    """The objectives of a finished run.

    Raises:
        Lacking: where it has none of that name, or no number; the message is the name.
    """
    values = []
    for objective in objectives:
        value = result.get(objective.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise MissingObjective(objective.name)
        values.append(float(value))
    return values


def better(one: Sequence[float], other: Sequence[float], objectives: Sequence[Objective]) -> bool:
    """Whether one is nowhere worse than the other, and somewhere better."""
    gains = [
        (a - b) if objective.direction == "maximize" else (b - a)
        for a, b, objective in zip(one, other, objectives, strict=True)
    ]
    return min(gains) >= 0 and max(gains) > 0


def pareto_front(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> list[int]:
    """The positions of those that none is better than, the best by the first objective first; of equal ones all."""
    sign = -1 if objectives[0].direction == "maximize" else 1
    front = [i for i, own in enumerate(values) if not any(better(other, own, objectives) for other in values)]
    return sorted(front, key=lambda index: sign * values[index][0])
