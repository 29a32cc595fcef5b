"""Which parameters matter: the share of the objective's variance that each one explains alone, and that pairs add.

The corrected correlation ratio (epsilon squared; T. L. Kelley, "An unbiased correlation ratio measure", 1935): the
variance between trials with different values of the parameter (numbers are binned at their quartiles), less what chance
gives for so many bins. Optuna's own measures fail in some of its versions. A search samples more where results are
good, so the shares describe its trials, not the whole space.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

MIN_TRIALS = 8
MIN_INTERACTION = 0.05  # share of the variance that a pair must add to be named
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


def interactions(trials: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[tuple[str, str], float]:
    """Return for each pair of parameters the share that their interaction explains, the largest first.

    This is what the pair explains beyond the sum of two separate effects, in a two-way analysis of variance (epsilon
    squared; S. Olejnik and J. Algina, "Generalized eta and omega squared statistics", 2003). A pair may matter although
    neither parameter matters alone. Pairs that explain less than `MIN_INTERACTION` are left out, and so are pairs
    without several trials for some of their values.
    """
    found = {}
    for pair in combinations(dict.fromkeys(name for params in trials for name in params), 2):
        having = [
            (params, value) for params, value in zip(trials, values, strict=True) if all(n in params for n in pair)
        ]
        columns = [_binned([params[name] for params, _ in having]) for name in pair]
        share = _interaction(columns, np.array([value for _, value in having], dtype=float))
        if share >= MIN_INTERACTION:
            found[pair] = share
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _interaction(columns: Sequence[Sequence[Any]], values: np.ndarray[Any, Any]) -> float:
    pairs = list(zip(*columns, strict=True))
    if len(values) < MIN_TRIALS or len(set(pairs)) == len(values) or np.ptp(values) <= 1e-12 * abs(values).max():
        return 0.0
    centred = values - values.mean()
    cells = _positions(pairs)  # their means: a linear model of so many cells would take minutes for many runs
    joint_rank = int(cells.max()) + 1
    means = np.bincount(cells, centred) / np.bincount(cells)
    joint = float(((centred - means[cells]) ** 2).sum())
    additive, additive_rank = _residual(np.hstack([_one_hot(column) for column in columns]), centred)
    noise = joint / (len(values) - joint_rank)
    return float((additive - joint - (joint_rank - additive_rank) * noise) / (centred**2).sum())


def _positions(column: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return the number of each value, counted from 0 in the order in which they first occur."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(column))}
    return np.array([numbers[value] for value in column])


def _one_hot(column: Sequence[Any]) -> np.ndarray[Any, Any]:
    positions = _positions(column)
    columns: np.ndarray[Any, Any] = np.eye(positions.max() + 1)[positions]
    return columns


def _residual(design: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> tuple[float, int]:
    """Return the sum of squares that a linear model leaves, and the rank of the model."""
    fit, _, rank, _ = np.linalg.lstsq(design, values)
    return float(((values - design @ fit) ** 2).sum()), int(rank)


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
