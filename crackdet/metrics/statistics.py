"""Confidence intervals and tests for metrics of finitely many images.

Only `scipy.special` is used: importing `scipy.stats` takes another second, as long as a summary of thousands of runs.
The tests compare with `scipy.stats` and statsmodels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

CONFIDENCE = 0.95  # confidence of all intervals
ACCEPTABLE_LOSS = 0.005  # of a metric: a loss that is always acceptable for a cheaper network
MAX_POSSIBLE_LOSS = 0.2  # of a metric: a network that may be this much worse is not known well enough to be recommended
EXACT_SHARE, EXACT_ERRORS = 0.99, 5  # above this share, or with so few errors, Wilson's interval covers too rarely

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def proportion_interval(share: ArrayLike, number: ArrayLike) -> tuple[Floats, Floats]:
    """Return the 95 % intervals of shares of so many independent images; numbers or arrays.

    Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209); above 99 % or with at most five errors, where it
    covers too little, that of Clopper and Pearson (1934, Biometrika 26, 404). `number` may be fractional, or 0.
    """
    share, given_number = np.broadcast_arrays(np.asarray(share, float), np.asarray(number, float))
    number = np.where(given_number > 0, given_number, 1.0)
    z = special.ndtri((1 + CONFIDENCE) / 2)
    centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z * np.sqrt(share * (1 - share) / number + (z / (2 * number)) ** 2) / (1 + z**2 / number)
    hits, errors = share * number, (1 - share) * number
    with np.errstate(invalid="ignore"):  # betaincinv does not accept a parameter of 0
        exact_low = np.where(hits > 0, special.betaincinv(hits, errors + 1, (1 - CONFIDENCE) / 2), 0.0)
        exact_high = np.where(errors > 0, special.betaincinv(hits + 1, errors, (1 + CONFIDENCE) / 2), 1.0)
    is_exact = (share > EXACT_SHARE) | (errors < EXACT_ERRORS + 0.5)  # + 0.5: the product is not quite whole
    low = np.where(is_exact, exact_low, np.maximum(centre - half, 0))
    high = np.where(is_exact, exact_high, np.minimum(centre + half, 1))
    return np.where(given_number > 0, low, 0.0), np.where(given_number > 0, high, 1.0)


def effective_interval(share: float, variance: float, degrees_of_freedom: float, max_number: float) -> Interval:
    """Return the 95 % interval of a mean in 0 to 1 from an estimate of its variance.

    It is the interval of as many independent images as have this variance (Korn and Graubard 1998, Survey Methodology
    24, 193), at most `max_number`. So it stays within 0 to 1, and has a width even if no image is wrong.
    """
    is_estimated = variance > 0 and 0 < share < 1
    number = effective_number(share, variance, degrees_of_freedom) if is_estimated else max_number
    low, high = proportion_interval(share, min(number, max_number))
    return Interval(float(low), float(high))


def effective_number(share: float, variance: float, degrees_of_freedom: float) -> float:
    """Return how many independent images give an interval as wide as that of a mean with this variance above 0."""
    normal = special.ndtri((1 + CONFIDENCE) / 2)
    return float(share * (1 - share) / variance * (normal / _t_quantile(degrees_of_freedom)) ** 2)


def mcnemar(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """Return two-sided exact p-values that two networks are equally good on the same images.

    The arguments count the images that only one of the two classifies correctly (McNemar 1947, Psychometrika 12, 153;
    the exact form is the sign test).
    """
    fewer, number = np.minimum(only_first, only_second), np.add(only_first, only_second)
    return np.asarray(np.minimum(1.0, 2 * special.bdtr(fewer.astype(float), number, 0.5)))


def fisher_exact(hits: int, predicted: int, cracks: int, number: int) -> float:
    """Return the p-value of at least so many hits if predictions were independent of cracks.

    Of `number` images, `predicted` are predicted as cracks, `cracks` are cracks, and `hits` are both (Fisher's exact
    test, one-sided: Fisher 1935, J. R. Stat. Soc. 98, 39).
    """
    k = np.arange(hits, min(predicted, cracks) + 1, dtype=float)
    log_ways = _log_binomial(cracks, k) + _log_binomial(number - cracks, predicted - k)
    return float(min(np.exp(log_ways - _log_binomial(number, predicted)).sum(), 1.0))


def binomial_test_above(hits: int, number: int) -> float:
    """Return the one-sided p-value of at least so many hits if each of `number` is one with probability 1/2."""
    return 1.0 if hits <= 0 else float(special.bdtrc(hits - 1, number, 0.5))


def _log_binomial(n: int, k: ArrayLike) -> Floats:
    return np.asarray(-special.betaln(1 + np.subtract(n, k), 1 + np.asarray(k)) - np.log1p(n))


class Difference(NamedTuple):
    """How much worse one network is than another on the same images."""

    value: float  # difference of the metric
    error: float  # its standard error
    low: float  # its 95 % interval
    high: float


def is_negligible(difference: Difference | None) -> bool:
    """Return whether a cheaper network that is this much worse may be recommended; None: not measured."""
    return difference is None or not (is_worse(difference) or difference.high > MAX_POSSIBLE_LOSS)


def is_worse(difference: Difference) -> bool:
    """Return whether a network is worse by more than one standard error.

    Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3.
    """
    return difference.value > max(difference.error, ACCEPTABLE_LOSS)


def paired_differences(only_first: ArrayLike, only_second: ArrayLike, number: int) -> list[Difference]:
    """Return how much worse than the first network each second one is, by its share of `number` correct images.

    The arguments count the images that only one of the two classifies correctly. Half an image is added to each of the
    four cells: otherwise intervals of few images are too narrow (Agresti and Min 2005, Stat. Med. 24, 729).
    """
    lost = np.subtract(only_first, only_second, dtype=float)
    discordant = np.add(only_first, only_second, dtype=float)
    centre = lost / (number + 2)
    error = np.sqrt(discordant + 1 - lost * centre) / (number + 2)
    half = special.ndtri((1 + CONFIDENCE) / 2) * error
    columns = (lost / max(number, 1), error, centre - half, centre + half)
    return list(map(Difference, *(column.tolist() for column in columns)))


def difference_interval(difference: float, variance: float, degrees_of_freedom: float) -> Difference:
    """Return a difference with the interval of Student's t, from an estimate of its variance."""
    error = float(np.sqrt(variance))
    half = _t_quantile(degrees_of_freedom) * error
    return Difference(difference, error, difference - half, difference + half)


def t_test(difference: float, variance: float, degrees_of_freedom: float) -> float:
    """Return the two-sided p-value of a difference by Student's t, from an estimate of its variance."""
    return min(1.0, 2 * t_test_one_sided(abs(difference), variance, degrees_of_freedom))


def t_test_one_sided(difference: float, variance: float, degrees_of_freedom: float) -> float:
    """Return the one-sided p-value that such a difference is not above 0."""
    if difference <= 0 or degrees_of_freedom < 1 or variance <= 0:
        return 1.0
    return float(special.stdtr(degrees_of_freedom, -difference / np.sqrt(variance)))


def _t_quantile(degrees_of_freedom: float) -> float:
    """Return the number of standard errors from the centre of a 95 % interval to its ends."""
    return float(special.stdtrit(max(degrees_of_freedom, 1), (1 + CONFIDENCE) / 2))


def holm_correction(p_values: ArrayLike) -> Floats:
    """Return p-values corrected for multiple comparisons (Holm 1979, Scand. J. Stat. 6, 65)."""
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


def expected_maximum(number: int) -> float:
    """Return the expected maximum of so many standard normal values.

    The integral of P(maximum > x) - P(maximum < -x) over x > 0, by the midpoint rule.
    """
    x = (np.arange(2000) + 0.5) / 200
    return float((1 - special.ndtr(x) ** number - special.ndtr(-x) ** number).sum() / 200)
