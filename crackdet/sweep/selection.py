"""The `sweep` group at work: values that go together, combinations left out, the order, the plan."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from crackdet.config.messages import nearest
from crackdet.config.parsing import resolved
from crackdet.config.schema import flatten
from crackdet.core.errors import UserError
from crackdet.running.job import Job
from crackdet.sweep.expression import Expression


def is_sweep_setting(override: Override) -> bool:
    """Whether it sets something in the `sweep` group, which is of the sweep and not of its runs.

    Raises:
        UserError: where it gives several values to choose from.
    """
    if override.key_or_group.partition(".")[0] != "sweep":
        return False
    if override.is_sweep_override():
        raise UserError(f"{override.input_line}: a sweep has one value of it; it cannot be swept over")
    return True


def zip_axes(settings: Mapping[str, Sequence[str]], paired: Sequence[Any]) -> list[list[tuple[str, ...]]]:
    """What a grid is the product of: the overrides of each key, and of each list of paired keys together.

    Raises:
        UserError: where paired keys are not swept over, or have not equally many values.
    """
    groups = [list(map(str, group)) for group in paired] if all(isinstance(item, list) for item in paired) else []
    if paired and not groups:
        groups = [list(map(str, paired))]
    shown = "[" + ",".join(str(key) for key in paired) + "]"
    together: dict[str, list[str]] = {}
    for group in groups:
        for key in group:
            if key not in settings:
                raise UserError(
                    f"sweep.zip={shown}: {key} is given no values in this sweep{nearest(key, list(settings))}"
                )
            if key in together:
                raise UserError(f"sweep.zip={shown}: {key} stands there twice")
            together[key] = group
        counts = {key: len(settings[key]) for key in group}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{key} has {count}" for key, count in counts.items())
            raise UserError(f"sweep.zip={shown}: paired keys need equally many values, but {listed}")
    found: list[list[tuple[str, ...]]] = []
    for key, texts in settings.items():
        group = together.get(key, [key])
        if group == [key]:
            found.append([(text,) for text in texts])
        elif key == next(other for other in settings if other in group):  # the axis stands where its first key does
            found.append(list(zip(*(settings[other] for other in group), strict=True)))
    return found


class ExcludeFilter:
    """Whether `sweep.exclude` leaves a composed configuration out; also one that could not be trained."""

    def __init__(self, text: str | None) -> None:
        self._expression = None if text is None else Expression(text)

    @property
    def asks(self) -> bool:
        """Whether configurations have to be looked at."""
        return self._expression is not None

    def __call__(self, composed: DictConfig | Mapping[str, Any]) -> bool:
        """Raises UserError where the expression cannot be decided."""
        return self._expression is not None and self._expression.holds(flatten(resolved(composed)))

    def finish(self) -> None:
        """Raises UserError where the expression speaks of a setting that no configuration had."""
        if self._expression is not None and (missing := sorted(self._expression.sought - self._expression.found)):
            raise UserError(f"sweep.exclude: {missing[0]} is a setting of none of the runs; mistyped?")


def order_jobs(jobs: Sequence[Job], order: str) -> list[Job]:
    """The cheapest first, or as given."""
    if order == "given" or len(jobs) < 2:
        return list(jobs)
    from crackdet.sweep.estimates import FlopEstimator, cheapest_first  # imports torch: seconds

    return cheapest_first(jobs, FlopEstimator())


def show_plan(jobs: Sequence[Job], order: str) -> None:
    """Prints what would be trained.

    Raises:
        UserError: where a network cannot be built.
    """
    from crackdet.sweep.dry_run import dry_run
    from crackdet.sweep.estimates import FlopEstimator  # imports torch: seconds

    dry_run(order_jobs(jobs, order), FlopEstimator())
