"""How sure the mean over replicates is, where both the runs and the images are only some of those there could be.

Runs and images are crossed: every run is judged on every image. The variance of a mean over both is that between
images, plus what runs differ by beyond the chance that their images bring in (the random-effects analysis of
variance; Gallas et al. 2009, Commun. Stat. Theory Methods 38, 2586, also on why resampling both, as a bootstrap
does, counts the part that belongs to neither alone too often). Images of one group (one wall, one photograph)
count as one draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crackdet.summary import statistics
from crackdet.summary.statistics import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """A combination, as its runs on the validation images show it."""

    scores: Floats  # (images,): mean over its runs; their mean is the metric
    runs: int
    between: float | None  # variance of the mean by what runs differ in; None where one run cannot say it
    freedom: float  # degrees of freedom of `between`

    @property
    def mean(self) -> float:
        return float(self.scores.mean())


def sample(scores: Floats, groups: NDArray[np.int64] | None) -> Sample:
    """From the scores (runs, images) of the runs of a combination."""
    runs, images = scores.shape
    means = scores.mean(axis=0)
    if runs == 1:
        return Sample(means, 1, None, 0)
    levels = scores.mean(axis=1)
    rest = _by_group(scores - levels[:, None] - means + means.mean(), groups)
    number = rest.shape[1]
    chance = float((rest**2).sum()) / (runs - 1) * number / max(number - 1, 1) / images**2 / runs
    between = max(float(levels.var(ddof=1)) / runs - chance, 0.0)
    return Sample(means, runs, between, runs - 1)


def share_spread(samples: Sequence[Sample]) -> list[Sample]:
    """Gives single runs the spread between runs that the combinations with replicates have on average."""
    known = [(one.between * one.runs, one.freedom) for one in samples if one.between is not None]
    freedom = sum(weight for _, weight in known)
    pooled = sum(spread * weight for spread, weight in known) / freedom if freedom else 0.0
    return [one if one.between is not None else replace(one, between=pooled, freedom=freedom) for one in samples]


def interval(one: Sample, groups: NDArray[np.int64] | None) -> Interval:
    """The 95 % interval of the metric of a combination; of whatever seed, on images like these."""
    variance, freedom, number = _image_variance(one.scores, groups)
    whole, freedom = _total(variance, freedom, one)
    most = len(one.scores) * one.runs if whole > 0 else number  # where nothing varies, replicates add nothing
    return statistics.effective_interval(min(max(one.mean, 0.0), 1.0), whole, freedom, most)


def compare(one: Sample, other: Sample, groups: NDArray[np.int64] | None) -> float:
    """The two-sided p-value that two combinations are equally good, by Student's t with Satterthwaite's freedom.

    Images (or groups) on which the two agree lend no freedom: with few others, chance is not normally distributed.
    """
    difference = one.scores - other.scores
    variance, freedom, _ = _image_variance(difference, groups)
    telling = np.count_nonzero(np.abs(_by_group(difference[None], groups)) > 1e-12)
    whole, freedom = _total(variance, min(freedom, float(telling) - 1), one, other)
    return statistics.student(float(difference.mean()), whole, freedom)


def _image_variance(scores: Floats, groups: NDArray[np.int64] | None) -> tuple[float, float, int]:
    """Of the mean score, with its degrees of freedom and the number of independent draws."""
    sums = _by_group((scores - scores.mean())[None], groups)[0]
    number = len(sums)
    return float((sums**2).sum()) * number / max(number - 1, 1) / len(scores) ** 2, number - 1, number


def _total(image_variance: float, freedom: float, *samples: Sample) -> tuple[float, float]:
    """The variance with what the runs add to it, and its degrees of freedom (Satterthwaite 1946, Biometrics 2, 110)."""
    parts = [(image_variance, freedom), *((one.between or 0.0, one.freedom) for one in samples)]
    whole = sum(part for part, _ in parts)
    if any(part > 0 and free < 1 for part, free in parts):
        return whole, 0.0
    spread = sum(part**2 / free for part, free in parts if part > 0)
    return whole, whole**2 / spread if spread > 0 else freedom


def _by_group(scores: Floats, groups: NDArray[np.int64] | None) -> Floats:
    """Sums (runs, groups) of scores (runs, images); the scores themselves where each image stands alone."""
    if groups is None:
        return scores
    sums = np.zeros((len(scores), int(groups.max()) + 1))
    np.add.at(sums.T, groups, scores.T)
    return sums
