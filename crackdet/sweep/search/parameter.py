"""One parameter of a search: its values as Optuna suggests them, in overrides and in configurations.

The values are those of Hydra's grid: `range(256,1025,256)` ends with 1024, a list is one value, and integers stay
integers. An interval of a setting that is an integer includes both ends.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from crackdet.config.messages import find_field
from crackdet.core.errors import UserError
from crackdet.sweep.counting import num_values

INTEGER_BOUNDS = re.compile(r"interval\(\s*(start\s*=\s*)?-?\d+\s*,\s*(end\s*=\s*)?-?\d+\s*\)")


@dataclass(frozen=True)
class Parameter:
    """A key with its values. A choice is suggested as the text of an override, a number as a number."""

    key: str  # as in an override, with a + if it is added to the configuration
    kind: Literal["choice", "int", "float"]
    values: tuple[Any, ...] = ()  # of a choice or a range: all of them, as the configuration holds them
    suggestions: tuple[Any, ...] = ()  # the same as Optuna suggests them: texts of overrides, or decimal fractions
    low: float = 0
    high: float = 0
    step: float | None = None  # of a range
    log: bool = False

    @property
    def name(self) -> str:
        return self.key.lstrip("+")

    @property
    def count(self) -> int | None:
        """The number of values; None if it is infinite."""
        if self.values:
            return len(self.values)
        return int(self.high) - int(self.low) + 1 if self.kind == "int" else None

    @property
    def ends(self) -> tuple[Any, Any]:
        """The first and the last suggestion of a choice, the smallest and the largest of a number."""
        return (self.suggestions[0], self.suggestions[-1]) if self.suggestions else (self.low, self.high)

    def all(self) -> list[Any]:
        """Return all suggestions of a parameter that has a count."""
        return list(self.suggestions) or list(range(int(self.low), int(self.high) + 1))

    def suggest(self, trial: optuna.trial.Trial) -> Any:
        """Ask the trial's sampler for a suggestion."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.suggestions)
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        inexact = trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)
        return min(self.suggestions, key=lambda suggestion: abs(suggestion - inexact), default=inexact)

    def distribution(self) -> BaseDistribution:
        """Return the distribution that `suggest` samples from."""
        if self.kind == "choice":
            return CategoricalDistribution(self.suggestions)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def override(self, suggested: Any) -> str:
        """Return the override that sets a suggestion."""
        return f"{self.key}={suggested if self.kind == 'choice' else repr(self.value(suggested))}"

    def value(self, suggested: Any) -> Any:
        """Return a suggestion as the configuration holds it: of a range of floats exactly Hydra's number."""
        return self.values[self.suggestions.index(suggested)] if self.values else suggested

    def find(self, value: Any) -> Any:
        """Return the suggestion that gives a setting this value; None if there is none."""
        if self.values:
            matches = (found for found, own in zip(self.suggestions, self.values, strict=True) if _same(own, value))
            return next(matches, None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not self.low <= value <= self.high or (self.kind == "int" and value != int(value)):
            return None
        return int(value) if self.kind == "int" else float(value)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Parameter":
        """Return the parameter whose fields were written as JSON."""
        return cls(**{**content, "values": tuple(content["values"]), "suggestions": tuple(content["suggestions"])})


def parse_parameter(override: Override, integer: bool | None) -> Parameter:
    """Return the parameter that an override with several values describes.

    Args:
        integer: Whether the setting is an integer; None if its type is unknown, then the text decides.

    Raises:
        UserError: If there is no value, or a tag that does not fit.
    """
    key, value = override.get_key_element(), override.value()
    tags = getattr(value, "tags", None) or set()
    num_values(override)  # refuses no values, too many, and intervals without ends
    if override.is_interval_sweep():
        assert isinstance(value, IntervalSweep)
        return _parse_interval(override, value, integer, "log" in tags)
    if "log" in tags:
        raise UserError(f"{override.input_line}: log is for an interval, as in tag(log,interval(1e-5,1e-2))")
    if override.is_range_sweep():
        values = sorted(set(override.sweep_iterator()))  # type: ignore[type-var]
        return evenly_spaced(key, values)
    return choice(key, list(dict.fromkeys(override.sweep_string_iterator())))


def choice(key: str, texts: Sequence[str]) -> Parameter:
    """Return a parameter that has one of these values, written as in overrides."""
    parser = OverridesParser.create()
    return Parameter(key, "choice", tuple(parser.parse_override(f"x={text}").value() for text in texts), tuple(texts))


def is_integer(name: str) -> bool | None:
    """Return whether a setting is an integer; None if the schema does not have the setting."""
    found = find_field(name)
    if found is None:
        return None
    types = get_args(found[0]) or (found[0],)
    return int in types and float not in types


def with_integer_interval(text: str) -> str:
    """Return an override, an interval of a setting that is an integer as an interval of integers."""
    override = OverridesParser.create().parse_override(text)
    if not override.is_interval_sweep() or not is_integer(override.key_or_group):
        return text
    key, _, value = text.partition("=")
    return f"{key}=int({value})"


def evenly_spaced(key: str, values: list[Any]) -> Parameter:
    """Return a parameter with these ascending numbers, which have one distance."""
    step = values[1] - values[0] if len(values) > 1 else 1
    if all(isinstance(value, int) for value in values):
        return Parameter(key, "int", tuple(values), tuple(values), low=values[0], high=values[-1], step=step)
    low, step = float(values[0]), float(f"{step:.12g}")
    steps = tuple(decimal_steps(low, step, index) for index in range(len(values)))
    return Parameter(key, "float", tuple(map(float, values)), steps, low=low, high=steps[-1], step=step)


def _parse_interval(override: Override, value: IntervalSweep, integer: bool | None, log: bool) -> Parameter:
    low, high = value.start, value.end
    assert low is not None and high is not None
    if integer is None:  # Hydra makes floats of both ends; the text tells what they were
        integer = isinstance(low, int) or INTEGER_BOUNDS.search(override.input_line or "") is not None
    if not integer:
        return Parameter(override.get_key_element(), "float", low=float(low), high=float(high), log=log)
    first, last = math.ceil(low), math.floor(high)
    if first > last:
        raise UserError(f"{override.input_line}: contains no integer")
    return Parameter(override.get_key_element(), "int", low=first, high=last, log=log)


def decimal_steps(low: float, step: float, count: int) -> float:
    """Return low + count * step in decimal fractions, in which Optuna checks that a step fits."""
    return float(Decimal(str(low)) + count * Decimal(str(step)))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)
