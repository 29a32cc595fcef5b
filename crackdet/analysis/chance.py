"""What chance alone gives: random predictions, one answer for every image, and the best of many equal networks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from crackdet.analysis import replicates
from crackdet.analysis.correctness import MAX_PREDICTIONS_READ, CorrectnessMatrix
from crackdet.metrics import statistics
from crackdet.metrics.numpy_metrics import roc_auc_scores
from crackdet.metrics.sample_size import ALPHA, MIN_OBSERVATIONS

CHANCE = 0.5  # ROC-AUC of scores that are independent of the labels
# the metric of one answer for every image, the better of the two, from the share of cracks
CONSTANT_ANSWER: Mapping[str, Callable[[float], float]] = {
    "accuracy": lambda share: max(share, 1 - share),
    "precision": lambda share: share,
    "f1": lambda share: 2 * share / (1 + share),
    "roc_auc": lambda share: CHANCE,
}


@dataclass
class ChanceTest:
    """Whether the runs of a ranking predict cracks better than chance.

    Tests the predictions, or for the ROC-AUC the scores, and allows for picking the run from the whole ranking
    (Bonferroni). A run must be better than chance both by images and by groups.
    """

    matrix: CorrectnessMatrix
    metric: str
    _results: dict[int, bool | None] = field(default_factory=dict, repr=False)

    def is_above(self, index: int) -> bool | None:
        """Return whether a run of the ranking is better than chance.

        None if there are too few validation images or groups to exclude chance, although the run is better than chance
        by images, or makes no mistake.
        """
        if index not in self._results:
            self._results[index] = self._test(index)
        return self._results[index]

    @cached_property
    def has_one_class(self) -> bool:
        """Whether all validation images are of one class."""
        return self.matrix.shared is not None and len(np.unique(self.matrix.shared.labels)) < 2

    def _test(self, index: int) -> bool | None:
        matrix, tests = self.matrix, len(self.matrix.ranking)
        if matrix.shared is None:  # the labels are unknown: a coin is right on half of the images
            hits = int(matrix.correct(index).sum())
            return statistics.binomial_test_above(hits, matrix.num_images) * tests < ALPHA
        if self.has_one_class:
            return False
        by_images = self._by_images(index)
        if by_images is None:
            return True
        p_value, too_few = by_images, self._lowest * tests >= ALPHA
        if matrix.groups is not None and matrix.num_independent > 1:
            p_value, too_few = max(by_images, self._by_groups(index, by_images)), self._rarer_groups < MIN_OBSERVATIONS
        if p_value * tests < ALPHA:
            return True
        is_promising = by_images * tests < ALPHA or by_images <= self._lowest
        return None if too_few and is_promising else False

    def _by_images(self, index: int) -> float | None:
        """Return the p-value that the labels are independent of the run's predictions; None if these are not read."""
        assert self.matrix.shared is not None
        labels = self.matrix.shared.labels
        if self.metric != "roc_auc":
            called = labels == self.matrix.correct(index)
            return _fisher_exact(int((labels & called).sum()), int(called.sum()), int(labels.sum()), len(labels))
        sample = self.matrix.sample([index], self.metric)
        if sample is None:
            return None
        if sample.scores.var() == 0 and sample.mean > CHANCE:  # every crack scores above every other image
            return self._lowest
        variance = float(sample.scores.var()) / len(labels)
        return statistics.t_test_one_sided(sample.mean - CHANCE, variance, len(labels) - 1)

    def _by_groups(self, index: int, by_images: float) -> float:
        assert self.matrix.shared is not None
        labels = self.matrix.shared.labels
        sample = self.matrix.sample([index], self.metric) if self.metric == "roc_auc" else None
        if sample is None:
            # predictions are scores with two values: their ROC-AUC is 0.5 too if they are independent of the labels
            called = (labels == self.matrix.correct(index)).astype(float)
            sample = replicates.make_sample(roc_auc_scores(called, labels)[None])
        p_value = replicates.p_value_above(sample, CHANCE, self.matrix.groups, self._rarer_groups, by_images)
        return max(p_value, self._lowest_by_groups)

    @cached_property
    def _lowest(self) -> float:
        """The p-value by images of a network without a mistake."""
        assert self.matrix.shared is not None
        cracks = int(self.matrix.shared.labels.sum())
        return _fisher_exact(cracks, cracks, cracks, self.matrix.num_images)

    @cached_property
    def _lowest_by_groups(self) -> float:
        counts = self.matrix.groups_by_class
        return replicates.lowest_p_value(self.matrix.num_independent, counts[True], counts[False])

    @property
    def _rarer_groups(self) -> int:
        return min(self.matrix.groups_by_class.values())


_fisher_exact = lru_cache(statistics.fisher_exact)  # many runs have the same numbers of hits and alarms


def constant_answer(matrix: CorrectnessMatrix, metric: str) -> float | None:
    """Return the metric of one answer for every image; None for recall, or if the labels are unknown."""
    if matrix.shared is None or metric not in CONSTANT_ANSWER:
        return None
    return CONSTANT_ANSWER[metric](float(matrix.shared.labels.mean()))


def selection_bias(matrix: CorrectnessMatrix, metric: str, indices: Sequence[int]) -> float:
    """Return by how much the best of these runs looks better than it is if all are equally good.

    This is the expected maximum of their errors, estimated from the images on which they differ from the first.
    """
    first = matrix.sample([0], metric)
    others = [one for index in indices[1:MAX_PREDICTIONS_READ] if (one := matrix.sample([index], metric)) is not None]
    if first is None or not others:
        return 0.0
    differences = np.stack([one.scores for one in others]) - first.scores
    sums = replicates.sum_by_group(differences, matrix.groups_of(metric))
    variance = float((sums**2).sum(axis=1).mean()) / len(first.scores) ** 2
    return float(np.sqrt(variance / 2)) * statistics.expected_maximum(len(indices))
