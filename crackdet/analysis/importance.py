"""Which parameters mattered: the share of the objective's variance that each explains alone.

The corrected correlation ratio (epsilon squared; T. L. Kelley, "An unbiased correlation ratio measure", 1935): the
variance between the groups of trials with one value of the parameter, numbers cut at their quartiles, less what
chance would give so many groups. It needs no package, and Optuna's own measures fail in one or the other of its
versions. A search looks closer where it is good, so these are shares of what it saw, not of the whole space.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FEWEST = 8  # trials
MOST_GROUPS = 8  # different numbers; more are cut at their quartiles


def importances(trials: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """For each parameter a share from 0 to 1, the largest first; of trials that have the parameter.

    A parameter that had one value only, or too few trials, explains nothing and is left out.
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
    groups = defaultdict(list)
    for group, value in zip(_groups(settings), values, strict=True):
        groups[group].append(value)
    count, number = len(values), len(groups)
    if count < FEWEST or number < 2 or number == count:
        return None
    total = float(((values - values.mean()) ** 2).sum())
    if np.ptp(values) <= 1e-12 * abs(values).max():  # all the same, but for rounding
        return None
    within = sum(float(((np.array(group) - np.mean(group)) ** 2).sum()) for group in groups.values())
    return float(np.clip(1 - (within / (count - number)) / (total / (count - 1)), 0, 1))


def _groups(settings: Sequence[Any]) -> list[Any]:
    numbers = all(isinstance(setting, int | float) and not isinstance(setting, bool) for setting in settings)
    if not numbers or len(set(settings)) <= MOST_GROUPS:
        return list(settings)
    return list(np.searchsorted(np.quantile(np.array(settings, dtype=float), [0.25, 0.5, 0.75]), settings))
