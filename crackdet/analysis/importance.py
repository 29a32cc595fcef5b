"""Which parameters matter: the share of the objective's variance that each one explains alone.

The corrected correlation ratio (epsilon squared; T. L. Kelley, "An unbiased correlation ratio measure", 1935): the
variance between trials with different values of the parameter (numbers are binned at their quartiles), less what chance
gives for so many bins. Optuna's own measures fail in some of its versions. A search samples more where results are
good, so the shares describe its trials, not the whole space.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MIN_TRIALS = 8
MAX_VALUES = 8  # different numbers; more are binned at their quartiles


def importances(trials: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Return for each parameter its share from 0 to 1 among the trials that have it, the largest first.

    Parameters with a single value or with too few trials are left out.
    """
    names = dict.fromkeys(name for params in trials for name in params)
    shares = {}
    for name in names:
        having = [(params[name], value) for params, value in zip(trials, values, strict=True) if name in params]
        share = _share([setting for setting, _ in having], np.array([value for _, value in having], dtype=float))
        if share is not None:
            shares[name] = share
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _share(settings: Sequence[Any], values: np.ndarray[Any, Any]) -> float | None:
    bins = defaultdict(list)
    for key, value in zip(_binned(settings), values, strict=True):
        bins[key].append(value)
    count, number = len(values), len(bins)
    if count < MIN_TRIALS or number < 2 or number == count:
        return None
    total = float(((values - values.mean()) ** 2).sum())
    if np.ptp(values) <= 1e-12 * abs(values).max():  # equal but for rounding
        return None
    within = sum(float(((np.array(group) - np.mean(group)) ** 2).sum()) for group in bins.values())
    return float(np.clip(1 - (within / (count - number)) / (total / (count - 1)), 0, 1))


def _binned(settings: Sequence[Any]) -> list[Any]:
    numbers = all(isinstance(setting, int | float) and not isinstance(setting, bool) for setting in settings)
    if not numbers or len(set(settings)) <= MAX_VALUES:
        return list(settings)
    return list(np.searchsorted(np.quantile(np.array(settings, dtype=float), [0.25, 0.5, 0.75]), settings))
