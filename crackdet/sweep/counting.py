"""How many values an override has and how many combinations a sweep has, before any of them is listed."""

import math
from collections.abc import Mapping

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from crackdet.core.errors import UserError

MAX_COMBINATIONS = 100_000  # of a grid; each is composed


def num_values(override: Override) -> float:
    """Return how many values an override has: 1 if it is no sweep, infinity if it is an interval.

    Raises:
        UserError: If it has none or too many to list, or the ends of an interval are not two ascending numbers.
    """
    values = override.value()
    if isinstance(values, RangeSweep):
        return _range_length(override, values)
    if isinstance(values, IntervalSweep):
        _check_interval(override, values)
        return math.inf
    count = len(list(override.sweep_iterator())) if override.is_choice_sweep() else 1
    if isinstance(values, ChoiceSweep) and any(isinstance(each, ChoiceSweep | RangeSweep) for each in values.list):
        raise UserError(f"{override.input_line}: a choice must have single values, as in choice(1,2)")
    if count == 0:
        raise UserError(f"{override.input_line}: has no value to choose from")
    return count


def num_single_values(override: Override) -> int:
    """Return how many values an override of a grid has.

    Raises:
        UserError: If `num_values` would raise it, or the values are an interval.
    """
    count = num_values(override)
    if math.isinf(count):
        raise UserError(
            f"{override.input_line}: a grid needs single values, as in {override.get_key_element()}=1,2,3 or "
            "range(1,4); an interval is for a search: hydra/sweeper=crackdet_optuna"
        )
    return int(count)


def check_combinations(counts: Mapping[str, int], others: int = 0) -> int:
    """Return the number of combinations of so many values per key.

    Args:
        others: Combinations of the same grid that were counted before.

    Raises:
        UserError: If a grid cannot have so many.
    """
    count = math.prod(counts.values())
    if count + others > MAX_COMBINATIONS:
        several = [f"{key} has {number:,}" for key, number in counts.items() if number > 1]
        raise UserError(
            f"the sweep has {count + others:,} combinations ({', '.join(several)} values), but a grid has at most "
            f"{MAX_COMBINATIONS:,}; give fewer values, or search with hydra/sweeper=crackdet_optuna"
        )
    return count


def _check_interval(override: Override, values: IntervalSweep) -> None:
    low, high = values.start, values.end
    if low is None or high is None or not -math.inf < low < high < math.inf:
        raise UserError(f"{override.input_line}: the first end of an interval must be below the second, both finite")
    if "log" in values.tags and low <= 0:
        raise UserError(f"{override.input_line}: a logarithmic interval must begin above 0")


def _range_length(override: Override, values: RangeSweep) -> int:
    line = override.input_line
    try:
        start, stop, step = (float(number) for number in (values.start or 0, values.stop or 0, values.step))
        length = (stop - start) / step
    except ZeroDivisionError:
        raise UserError(f"{line}: the step of a range must not be 0") from None
    except OverflowError:
        length = math.inf
    if math.isnan(length) or math.isinf(length):
        raise UserError(f"{line}: a range must begin and end with finite numbers")
    if length <= 0:
        raise UserError(f"{line}: the range is empty; a range does not include its end: range(1,4) is 1, 2, 3")
    if length > MAX_COMBINATIONS:
        raise UserError(
            f"{line}: has {math.ceil(length):,} values, but at most {MAX_COMBINATIONS:,} can be listed; give a larger "
            "step, or search an interval with hydra/sweeper=crackdet_optuna"
        )
    return math.ceil(length)
