"""How far figures that were measured on finitely many images can be trusted: pure functions over numbers.

Only `scipy.special` is used: its functions take whole arrays, where `scipy.stats` takes one run at a time, and it is
imported in a fraction of the time. The tests compare with `scipy.stats` and statsmodels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL = 0.95  # of all intervals
ALPHA = 0.05  # of all tests
SMALL = 0.005  # of a metric: so little may always be given away for a cheaper network
VAGUE = 0.2  # of a metric: a network that may be so much worse is not known well enough to be taken for a better one
NEAR_ONE, FEW_WRONG = 0.99, 5  # above this, or with so few mistakes, Wilson's interval holds the truth too rarely

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """The ends of a 95 % interval."""

    low: float
    high: float


def proportion_interval(share: ArrayLike, number: ArrayLike) -> tuple[Floats, Floats]:
    """The 95 % intervals of shares (in 0 to 1) seen in so many independent images; arrays or numbers.

    Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209), and above 99 % or with at most five mistakes,
    where that covers too little, the exact one of Clopper and Pearson (1934, Biometrika 26, 404). `number` need not be
    whole; of no image at all the interval is 0 to 1.
    """
    share, given = np.broadcast_arrays(np.asarray(share, float), np.asarray(number, float))
    number = np.where(given > 0, given, 1.0)
    z = special.ndtri((1 + LEVEL) / 2)
    centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z * np.sqrt(share * (1 - share) / number + (z / (2 * number)) ** 2) / (1 + z**2 / number)
    hits, misses = share * number, (1 - share) * number
    with np.errstate(invalid="ignore"):  # betaincinv knows no beta distribution with a parameter of 0
        exact_low = np.where(hits > 0, special.betaincinv(hits, misses + 1, (1 - LEVEL) / 2), 0.0)
        exact_high = np.where(misses > 0, special.betaincinv(hits + 1, misses, (1 + LEVEL) / 2), 1.0)
    exact = (share > NEAR_ONE) | (misses < FEW_WRONG + 0.5)  # not quite whole, as a product
    low = np.where(exact, exact_low, np.maximum(centre - half, 0))
    high = np.where(exact, exact_high, np.minimum(centre + half, 1))
    return np.where(given > 0, low, 0.0), np.where(given > 0, high, 1.0)


def effective_interval(share: float, variance: float, freedom: float, most: float) -> Interval:
    """The 95 % interval of a mean in 0 to 1 whose variance was estimated with so many degrees of freedom.

    It is that of as many independent images as would have this variance (Korn and Graubard 1998, Survey Methodology
    24, 193), at most `most`; so it stays inside 0 to 1, and is not empty where no image was wrong.
    """
    number = min(effective_number(share, variance, freedom), most) if variance > 0 and 0 < share < 1 else most
    low, high = proportion_interval(share, number)
    return Interval(float(low), float(high))


def effective_number(share: float, variance: float, freedom: float) -> float:
    """How many independent images have a 95 % interval as wide as a mean inside 0 to 1 of this variance above 0."""
    normal, student = special.ndtri((1 + LEVEL) / 2), special.stdtrit(max(freedom, 1), (1 + LEVEL) / 2)
    return float(share * (1 - share) / variance * (normal / student) ** 2)


def mcnemar(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """Two-sided exact p-values that two networks are equally good, judged on the same images.

    What counts are the images that only one of the two gets right: if the networks are equally good, each falls to
    either with probability 1/2 (McNemar 1947, Psychometrika 12, 153; the exact form is the sign test).
    """
    fewer, number = np.minimum(only_first, only_second), np.add(only_first, only_second)
    p_values: Floats = np.minimum(1.0, 2 * special.bdtr(fewer.astype(float), number, 0.5))
    return p_values


def fisher_exact(hits: int, called: int, cracks: int, number: int) -> float:
    """The p-value of so many cracks or more among the images called cracks, if calls had nothing to do with cracks.

    Of `number` images `called` are called cracks and `cracks` are; `hits` are both (Fisher's exact test, one-sided:
    Fisher 1935, J. R. Stat. Soc. 98, 39).
    """
    both = np.arange(hits, min(called, cracks) + 1, dtype=float)

    def ways(whole: ArrayLike, part: ArrayLike) -> Floats:
        """The logarithm of in how many ways a part can be chosen."""
        found: Floats = -special.betaln(1 + np.subtract(whole, part), 1 + np.asarray(part)) - np.log1p(whole)
        return found

    likely = ways(cracks, both) + ways(number - cracks, called - both) - ways(number, called)
    return float(min(np.exp(likely).sum(), 1.0))


class Difference(NamedTuple):
    """By how much one network is behind another, judged on the same images."""

    value: float  # difference of the metric
    error: float  # its standard error
    low: float  # its 95 % interval
    high: float


def negligible(gap: Difference | None) -> bool:
    """Whether a network so far behind may be taken where it is cheaper, also where that was not measured."""
    return gap is None or not (behind(gap) or gap.high > VAGUE)


def behind(gap: Difference) -> bool:
    """Whether a network did worse by more than one standard error.

    Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3.
    """
    return gap.value > max(gap.error, SMALL)


def paired_gaps(only_first: ArrayLike, only_second: ArrayLike, number: int) -> list[Difference]:
    """By how much each second network's share of so many images is behind the first's.

    From the images that only one of the two gets right, with two more shared out among the four cells: without, the
    interval of few images is too narrow, and empty where the two agree (Agresti and Min 2005, Stat. Med. 24, 729).
    """
    lost, apart = np.subtract(only_first, only_second, dtype=float), np.add(only_first, only_second, dtype=float)
    centre = lost / (number + 2)
    error = np.sqrt(apart + 1 - lost * centre) / (number + 2)
    reach = special.ndtri((1 + LEVEL) / 2) * error
    columns = (lost / max(number, 1), error, centre - reach, centre + reach)
    return list(map(Difference, *(column.tolist() for column in columns)))


def gap(difference: float, variance: float, freedom: float) -> Difference:
    """The same of a difference whose variance was estimated with so many degrees of freedom, by Student's t."""
    error = float(np.sqrt(variance))
    reach = float(special.stdtrit(max(freedom, 1), (1 + LEVEL) / 2)) * error
    return Difference(difference, error, difference - reach, difference + reach)


def student(difference: float, variance: float, freedom: float) -> float:
    """The two-sided p-value of a difference whose variance was estimated with so many degrees of freedom."""
    return min(1.0, 2 * student_above(abs(difference), variance, freedom))


def student_above(difference: float, variance: float, freedom: float) -> float:
    """The one-sided p-value that such a difference is not above 0."""
    if difference <= 0 or freedom < 1 or variance <= 0:
        return 1.0
    return float(special.stdtr(freedom, -difference / np.sqrt(variance)))


def holm(p_values: ArrayLike) -> Floats:
    """P-values corrected for their number: below 5 % none of them is by chance, with 95 % confidence.

    The smallest is multiplied by their number, the next by one less, ... (Holm 1979, Scand. J. Stat. 6, 65).
    """
    given = np.asarray(p_values, float)
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def expected_maximum(number: int) -> float:
    """By how many standard deviations the largest of so many normal values is expected above their mean.

    The integral of P(largest > x) - P(largest < -x) over x > 0, by the midpoint rule.
    """
    x = (np.arange(2000) + 0.5) / 200
    return float((1 - special.ndtr(x) ** number - special.ndtr(-x) ** number).sum() / 200)
