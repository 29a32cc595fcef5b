"""How sure the mean over replicates is, where both the runs and the images are only some of those there could be.

Runs and images are crossed: every run is judged on every image, and the variance of a mean is that between images
plus that between runs. This is what a paired bootstrap of runs and images estimates by drawing (Gallas et al. 2009,
Commun. Stat. Theory Methods 38, 2586); computed, it needs no drawing, and Student's t allows for the few runs, which
percentiles of a bootstrap do not: `benchmarks/decisions.py` compares the two where the truth is known. Images of one
group (one wall, one photograph) count as one draw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crackdet.metrics import statistics
from crackdet.metrics.statistics import Difference, Interval

FEW_GROUPS = 10  # with mistakes, from which it hardly shows how much groups differ
ROUNDING = 1e-9  # less than a sum of scores can differ by
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """A combination, as its runs on the validation images show it."""

    scores: Floats  # (images,): mean over its runs; their mean is the metric
    runs: int
    between: float | None  # variance of the mean as runs differ; None where one run cannot say it
    freedom: float  # degrees of freedom of `between`
    right: Floats | None = None  # (images,): share of the runs that got it right, where the scores follow from that
    draws: int | None = None  # groups that the scores differ by, where they are fewer than there are

    @property
    def mean(self) -> float:
        return float(self.scores.mean())


def sample(scores: Floats, right: NDArray[np.bool_] | None = None, draws: int | None = None) -> Sample:
    """From the scores (runs, images) of the runs of a combination, and which images each got right."""
    runs = len(scores)
    between = float(scores.mean(axis=1).var(ddof=1)) / runs if runs > 1 else None
    share = None if right is None else right.mean(axis=0)
    return Sample(scores.mean(axis=0), runs, between, runs - 1, share, draws)


def share_spread(samples: Sequence[Sample]) -> list[Sample]:
    """Gives single runs the spread between runs that the combinations with replicates have on average."""
    known = [(one.between * one.runs, one.freedom) for one in samples if one.between is not None]
    freedom = sum(weight for _, weight in known)
    pooled = sum(spread * weight for spread, weight in known) / freedom if freedom else 0.0
    return [one if one.between is not None else replace(one, between=pooled, freedom=freedom) for one in samples]


def interval(one: Sample, groups: NDArray[np.int64] | None) -> Interval:
    """The 95 % interval of the metric of a combination; of whatever seed, on images like these.

    Its freedom is a little less than Satterthwaite's, by the shares of the parts of the variance and not by their
    squares: with few runs the parts are themselves uncertain, and the interval would hold the truth too rarely.
    """
    image_variance, freedom, number = _image_variance(one.scores, groups, one.draws)
    parts = _parts(image_variance, freedom, one)
    whole = sum(part for part, _ in parts)
    freedom = whole / sum(part / free for part, free in parts) if parts else freedom
    # where images do not vary, be it because they are one group, replicates say nothing of other images
    most = _most(one, groups) * one.runs if image_variance > 0 else number
    return statistics.effective_interval(min(max(one.mean, 0.0), 1.0), whole, freedom, most)


def draws(one: Sample, groups: NDArray[np.int64] | None, alike: float) -> float:
    """How many independent images would say as much of a single network's metric; `alike` where none is otherwise."""
    variance, freedom, _ = _image_variance(one.scores, groups, one.draws)
    if variance > 0 and 0 < one.mean < 1:
        return min(statistics.effective_number(one.mean, variance, freedom), _most(one, groups))
    return alike


def _most(one: Sample, groups: NDArray[np.int64] | None) -> int:
    """As how many independent images those of a sample can count.

    Where few groups hold all mistakes it does not show how much groups differ: then mistakes are taken to come in
    bunches larger by one than the largest of these.
    """
    if groups is None or one.right is None:
        return len(one.scores)
    mistakes = by_group((1 - one.right)[None], groups)[0]
    if np.count_nonzero(mistakes > ROUNDING) > FEW_GROUPS:
        return len(one.scores)
    return max(round(len(one.scores) / (1 + float(mistakes.max()))), len(mistakes))


def above(one: Sample, chance: float, groups: NDArray[np.int64], labels: NDArray[np.bool_], by_images: float) -> float:
    """The one-sided p-value that a network tells cracks from other images (N,) of such groups no better than chance.

    By Student's t, with the freedom of the class that is in fewer groups, of which the variance comes; where groups do
    not differ it is `by_images`. Where each group is of one class, it is at least what their shuffling allows.
    """
    with_cracks, without = np.unique(groups[labels]), np.unique(groups[~labels])
    fewer, number = min(len(with_cracks), len(without)), int(groups.max()) + 1
    if fewer < 2:
        return 1.0
    mixed = len(with_cracks) + len(without) - number
    least = 0.0 if mixed else 1 / math.comb(number, len(with_cracks))
    variance, freedom, _ = _image_variance(one.scores, groups, fewer)
    found = statistics.student_above(one.mean - chance, variance, freedom) if variance > 0 else by_images
    return max(found, least)


def against_first(samples: Sequence[Sample], groups: NDArray[np.int64] | None) -> list[tuple[float, Difference]]:
    """Each of the other combinations against the first, p-values corrected for their number."""
    first, *others = share_spread(samples)
    compared = [compare(other, first, groups) for other in others]
    corrected = statistics.holm([p_value for p_value, _ in compared]).tolist()
    return [(p_value, gap) for p_value, (_, gap) in zip(corrected, compared, strict=True)]


def compare(one: Sample, other: Sample, groups: NDArray[np.int64] | None) -> tuple[float, Difference]:
    """The two-sided p-value that two combinations are equally good, by Welch's test, and how far `one` is behind.

    Images (or groups) on which the two agree lend no freedom: with few others, chance is not normally distributed. It
    is at least what these allow at all: that of all of them falling to one side.
    """
    if groups is not None and (not groups.any() or one.draws == 1):  # which say nothing of images of other groups
        alone, against = replace(one, draws=None), replace(other, draws=None)
        return 1.0, compare(alone, against, None)[1]._replace(low=other.mean - 1, high=other.mean)
    difference = other.scores - one.scores
    variance, freedom, _ = _image_variance(difference, groups, one.draws)
    telling = _telling(one, other, groups)
    # two images more on which they differ or not, as for single networks: no gap is known exactly
    behind = _parts(variance + 1 / (len(difference) + 2) ** 2, freedom, one, other)
    parts = _parts(variance, min(freedom, float(telling) - 1), one, other)
    whole = sum(part for part, _ in parts)
    if parts:
        freedom = _freedom(parts)
    mean = float(difference.mean())
    gap = statistics.gap(mean, sum(part for part, _ in behind), _freedom(behind))
    gap = gap._replace(low=max(gap.low, other.mean - 1), high=min(gap.high, other.mean))  # `one` is in 0 to 1
    if telling < 2:
        return 1.0, gap
    least = 2.0 ** (1 - telling)
    if not parts:  # one is right on every image on which the other is wrong, in every run
        return least, gap
    return max(statistics.student(mean, whole, freedom), least), gap


def _freedom(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite 1946, Biometrics Bulletin 2, 110)."""
    return sum(part for part, _ in parts) ** 2 / sum(part**2 / free for part, free in parts)


def _image_variance(
    scores: Floats, groups: NDArray[np.int64] | None, draws: int | None = None
) -> tuple[float, float, int]:
    """Of the mean score, with its degrees of freedom and the number of independent draws."""
    sums = by_group((scores - scores.mean())[None], groups)[0]
    sums[np.abs(sums) < ROUNDING] = 0.0
    number = len(sums) if groups is None else draws or max(int(np.count_nonzero(sums)), 1)  # which need not be all
    return float((sums**2).sum()) * number / max(number - 1, 1) / len(scores) ** 2, number - 1, len(sums)


def _telling(one: Sample, other: Sample, groups: NDArray[np.int64] | None) -> int:
    """On how many images, or groups, two combinations differ."""
    difference = other.scores - one.scores
    if one.right is None or other.right is None:
        return int(np.count_nonzero(np.abs(by_group(difference[None], groups)) > ROUNDING))
    apart = np.abs(other.right - one.right) > ROUNDING  # scores of a ratio differ on other images, too
    if groups is None:
        return int(np.count_nonzero(apart))
    differ = np.abs(by_group(difference[None], groups))[0] > ROUNDING
    return int(np.count_nonzero(differ[np.unique(groups[apart])]))


def _parts(image_variance: float, freedom: float, *samples: Sample) -> list[tuple[float, float]]:
    """The variances that add up, above 0, with their degrees of freedom."""
    parts = [(image_variance, freedom), *((one.between or 0.0, one.freedom) for one in samples)]
    return [(part, max(free, 1)) for part, free in parts if part > 0]


def by_group(scores: Floats, groups: NDArray[np.int64] | None) -> Floats:
    """Sums (runs, groups) of scores (runs, images); the scores themselves where each image stands alone."""
    if groups is None:
        return scores
    sums = np.zeros((len(scores), int(groups.max()) + 1))
    np.add.at(sums.T, groups, scores.T)
    return sums
