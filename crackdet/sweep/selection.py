"""The settings of the `sweep` group: paired values, excluded combinations, and the order of the jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from crackdet.config.messages import suggest
from crackdet.config.parsing import resolve
from crackdet.config.schema import flatten
from crackdet.core.errors import UserError
from crackdet.running.job import Job
from crackdet.sweep.expression import Expression


def is_sweep_setting(override: Override) -> bool:
    """Return whether the override belongs to the `sweep` group, whose settings apply to the sweep, not to its runs.

    Raises:
        UserError: If it has several values.
    """
    if override.key_or_group.partition(".")[0] != "sweep":
        return False
    if override.is_sweep_override():
        raise UserError(f"{override.input_line}: settings of the group sweep must have a single value")
    return True


def zip_axes(overrides: Mapping[str, Sequence[str]], zipped: Sequence[Any]) -> list[list[tuple[str, ...]]]:
    """Return the axes of a grid: the overrides of each key, and those of each list of zipped keys together.

    Args:
        overrides: The overrides of each key.
        zipped: `sweep.zip`: keys, or lists of keys.

    Raises:
        UserError: If a zipped key is not swept over, or zipped keys have different numbers of values.
    """
    nested = zipped if all(isinstance(item, list) for item in zipped) else [zipped]
    groups = [list(map(str, group)) for group in nested]
    setting = "sweep.zip=[" + ",".join(str(key) for key in zipped) + "]"
    group_of: dict[str, list[str]] = {}
    for group in groups:
        for key in group:
            if key not in overrides:
                raise UserError(
                    f"{setting}: {key} has no values in this command; give values for each paired setting, "
                    f"as in {key}=1,2{suggest(key, list(overrides))}"
                )
            if key in group_of:
                raise UserError(f"{setting}: {key} is listed twice")
            group_of[key] = group
        counts = {key: len(overrides[key]) for key in group}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{key} has {count}" for key, count in counts.items())
            raise UserError(f"{setting}: paired keys need equally many values, but {listed}")
    axes: list[list[tuple[str, ...]]] = []
    for key, texts in overrides.items():
        group = group_of.get(key, [key])
        if group == [key]:
            axes.append([(text,) for text in texts])
        elif key == next(other for other in overrides if other in group):  # the axis takes the place of its first key
            axes.append(list(zip(*(overrides[other] for other in group), strict=True)))
    return axes


class ExcludeFilter:
    """Decides whether `sweep.exclude` excludes a composed configuration, which need not be valid."""

    def __init__(self, condition: str | None) -> None:
        self._expression = None if condition is None else Expression(condition)
        self._known: set[str] = set()

    @property
    def has_condition(self) -> bool:
        """Whether there is a condition."""
        return self._expression is not None

    def __call__(self, composed: DictConfig | Mapping[str, Any]) -> bool:
        """Return whether the configuration is excluded.

        Raises:
            UserError: If the condition cannot be evaluated.
        """
        if self._expression is None:
            return False
        settings = flatten(resolve(composed))
        self._known |= settings.keys()
        return self._expression.evaluate(settings)

    def raise_for_unknown_settings(self) -> None:
        """Raise UserError if the condition has a setting that none of the configurations had."""
        if self._expression is not None and (unknown := sorted(self._expression.keys - self._expression.found_keys)):
            raise UserError(f"sweep.exclude: unknown setting {unknown[0]}{suggest(unknown[0], list(self._known))}")


def order_jobs(jobs: Sequence[Job], order: str) -> list[Job]:
    """Return the jobs in the order of `sweep.order`: as `given`, or `cheapest` first, so that results come early."""
    if order == "given" or len(jobs) < 2:
        return list(jobs)
    from crackdet.sweep.estimates import FlopEstimator  # imports torch: seconds

    flops = FlopEstimator()
    return sorted(jobs, key=lambda job: flops.total(job.config))
