"""Intervals and tests for means over replicates, in which both runs and images are samples.

Runs and images are crossed: every run is evaluated on every image. The variance of a mean is the variance between
images plus the variance between runs, which a paired bootstrap over runs and images estimates by resampling (Gallas et
al. 2009, Commun. Stat. Theory Methods 38, 2586). The computed variance with Student's t also covers the truth when
there are few runs; bootstrap percentiles do not (`benchmarks/decisions.py` compares the two). Images of one group, such
as one wall, count as one observation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crackdet.metrics import statistics
from crackdet.metrics.statistics import Difference, Interval

MAX_FEW_GROUPS = 10  # if at most this many groups have mistakes, the variance between groups is not well known
ROUNDING = 1e-9  # sums of scores that differ by less are equal
Floats = NDArray[np.float64]
Groups = NDArray[np.int64] | None  # (images,): the group of each image; None if every image stands alone


@dataclass(frozen=True)
class ScoreSample:
    """The scores of a combination's runs on the validation images."""

    scores: Floats  # (images,): mean over the runs; the mean of the scores is the metric
    runs: int
    run_variance: float | None  # variance of the mean due to the runs; None if there is one run only
    dof: float  # degrees of freedom of `run_variance`
    correct: Floats | None = None  # (images,): share of runs that classify the image correctly, if that gives the score
    num_groups: int | None = None  # groups in which the scores vary, if fewer than all

    @property
    def mean(self) -> float:
        return float(self.scores.mean())


def make_sample(scores: Floats, correct: NDArray[np.bool_] | None = None, num_groups: int | None = None) -> ScoreSample:
    """Return the sample of a combination from the scores and correct answers of its runs, (runs, images) each."""
    runs = len(scores)
    between = float(scores.mean(axis=1).var(ddof=1)) / runs if runs > 1 else None
    share = None if correct is None else correct.mean(axis=0)
    return ScoreSample(scores.mean(axis=0), runs, between, runs - 1, share, num_groups)


def pool_run_variance(samples: Sequence[ScoreSample]) -> list[ScoreSample]:
    """Give single runs the average variance between the runs of the replicated combinations."""
    known = [(one.run_variance * one.runs, one.dof) for one in samples if one.run_variance is not None]
    dof = sum(weight for _, weight in known)
    pooled = sum(variance * weight for variance, weight in known) / dof if dof else 0.0
    return [one if one.run_variance is not None else replace(one, run_variance=pooled, dof=dof) for one in samples]


def confidence_interval(one: ScoreSample, groups: Groups) -> Interval:
    """Return the 95 % interval of a combination's metric, for any seed and for images of the same kind.

    The degrees of freedom weight the parts of the variance by their shares, not by their squares as Satterthwaite does:
    with few runs the parts are uncertain themselves, and Satterthwaite's interval covers the truth too rarely.
    """
    image_variance, dof, number = _image_variance(one.scores, groups, one.num_groups)
    parts = _variances(image_variance, dof, one)
    total = sum(variance for variance, _ in parts)
    dof = total / sum(variance / free for variance, free in parts) if parts else dof
    # if images do not vary, for example because they form one group, replicates tell nothing about other images
    limit = _max_independent(one, groups) * one.runs if image_variance > 0 else number
    return statistics.effective_interval(min(max(one.mean, 0.0), 1.0), total, dof, limit)


def effective_images(one: ScoreSample, groups: Groups, default: float) -> float:
    """Return how many independent images measure a single run's metric equally well; `default` if images agree."""
    variance, dof, _ = _image_variance(one.scores, groups, one.num_groups)
    if variance > 0 and 0 < one.mean < 1:
        return min(statistics.effective_number(one.mean, variance, dof), _max_independent(one, groups))
    return default


def lowest_p_value(num_groups: int, with_cracks: int, without: int) -> float:
    """Return the lowest p-value that groups can give: if each holds one class, that of their best permutation."""
    return 1 / math.comb(num_groups, with_cracks) if with_cracks + without == num_groups else 0.0


def p_value_above(one: ScoreSample, chance: float, groups: Groups, rarer_groups: int, by_images: float) -> float:
    """Return the one-sided p-value that a network separates cracks from other images (N,) no better than chance.

    Student's t over groups; `by_images` if groups do not vary.

    Args:
        rarer_groups: The number of groups of the class that occurs in fewer; gives the degrees of freedom.
    """
    if rarer_groups < 2:
        return 1.0
    variance, dof, _ = _image_variance(one.scores, groups, rarer_groups)
    return statistics.t_test_one_sided(one.mean - chance, variance, dof) if variance > 0 else by_images


def compare(one: ScoreSample, other: ScoreSample, groups: Groups) -> tuple[float, Difference]:
    """Compare two combinations, or single runs, by a t-test that is paired over images and unpaired over runs.

    Images (or groups) on which the two agree add no degrees of freedom: with few others, the errors are not normal.
    The p-value is at least that of a sign test on the discordant images, if all of them favoured the same side.

    Returns:
        The two-sided p-value that both are equally good, and by how much `one` is worse.
    """
    if groups is not None and (not groups.any() or one.num_groups == 1):  # one group tells nothing about other groups
        alone, against = replace(one, num_groups=None), replace(other, num_groups=None)
        return 1.0, compare(alone, against, None)[1]._replace(low=other.mean - 1, high=other.mean)
    scores = other.scores - one.scores
    mean = float(scores.mean())
    variance, dof, _ = _image_variance(scores, groups, one.num_groups)
    # two more images on which the two may differ, as for single runs: no difference is known exactly
    widened = _variances(variance + 1 / (len(scores) + 2) ** 2, dof, one, other)
    difference = statistics.difference_interval(mean, sum(part for part, _ in widened), _satterthwaite(widened))
    difference = difference._replace(low=max(difference.low, other.mean - 1), high=min(difference.high, other.mean))
    discordant = _num_discordant(one, other, groups)
    if discordant < 2:
        return 1.0, difference
    lowest = 2.0 ** (1 - discordant)
    parts = _variances(variance, min(dof, float(discordant) - 1), one, other)
    if not parts:  # in every run, one is right on each image on which the other is wrong
        return lowest, difference
    p_value = statistics.t_test(mean, sum(part for part, _ in parts), _satterthwaite(parts))
    return max(p_value, lowest), difference


def sum_by_group(scores: Floats, groups: Groups) -> Floats:
    """Sum scores (runs, images) over groups: (runs, groups). Without groups, return the scores."""
    if groups is None:
        return scores
    sums = np.zeros((len(scores), int(groups.max()) + 1))
    np.add.at(sums.T, groups, scores.T)
    return sums


def _max_independent(one: ScoreSample, groups: Groups) -> int:
    """Return an upper bound of the effective sample size.

    If few groups hold all mistakes, the variance between groups is not well known. Mistakes are then assumed to come
    in clusters larger by one than the largest observed.
    """
    if groups is None or one.correct is None:
        return len(one.scores)
    mistakes = sum_by_group((1 - one.correct)[None], groups)[0]
    if np.count_nonzero(mistakes > ROUNDING) > MAX_FEW_GROUPS:
        return len(one.scores)
    return max(round(len(one.scores) / (1 + float(mistakes.max()))), len(mistakes))


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a sum of variances (Satterthwaite 1946, Biometrics Bulletin 2, 110)."""
    return sum(variance for variance, _ in parts) ** 2 / sum(variance**2 / dof for variance, dof in parts)


def _image_variance(scores: Floats, groups: Groups, num_groups: int | None = None) -> tuple[float, float, int]:
    """Return the variance of the mean score, its degrees of freedom and the number of independent observations."""
    sums = sum_by_group((scores - scores.mean())[None], groups)[0]
    sums[np.abs(sums) < ROUNDING] = 0.0
    number = len(sums) if groups is None else num_groups or max(int(np.count_nonzero(sums)), 1)
    return float((sums**2).sum()) * number / max(number - 1, 1) / len(scores) ** 2, number - 1, len(sums)


def _num_discordant(one: ScoreSample, other: ScoreSample, groups: Groups) -> int:
    """Return on how many images, or groups, two combinations differ."""
    scores = other.scores - one.scores
    if one.correct is None or other.correct is None:
        return int(np.count_nonzero(np.abs(sum_by_group(scores[None], groups)) > ROUNDING))
    discordant = np.abs(other.correct - one.correct) > ROUNDING  # scores of a ratio also differ on other images
    if groups is None:
        return int(np.count_nonzero(discordant))
    differ = np.abs(sum_by_group(scores[None], groups))[0] > ROUNDING
    return int(np.count_nonzero(differ[np.unique(groups[discordant])]))


def _variances(image_variance: float, dof: float, *samples: ScoreSample) -> list[tuple[float, float]]:
    """Return the variances above 0 that add up, each with its degrees of freedom."""
    parts = [(image_variance, dof), *((one.run_variance or 0.0, one.dof) for one in samples)]
    return [(variance, max(free, 1)) for variance, free in parts if variance > 0]
