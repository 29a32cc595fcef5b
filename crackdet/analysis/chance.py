"""What chance alone gives: random predictions, one answer for every image, and the best of many equal networks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crackdet.analysis import replicates
from crackdet.analysis.correctness import MAX_PREDICTIONS_READ, CorrectnessMatrix
from crackdet.metrics import statistics
from crackdet.metrics.numpy_metrics import roc_auc_scores
from crackdet.metrics.statistics import ALPHA

CHANCE = 0.5  # ROC-AUC of scores that are independent of the labels
# the metric of one answer for every image, the better of the two, from the share of cracks
CONSTANT_ANSWER: Mapping[str, Callable[[float], float]] = {
    "accuracy": lambda share: max(share, 1 - share),
    "precision": lambda share: share,
    "f1": lambda share: 2 * share / (1 + share),
    "roc_auc": lambda share: CHANCE,
}


def is_above_chance(matrix: CorrectnessMatrix, index: int, metric: str) -> bool:
    """Return whether a run of a ranking predicts cracks better than chance; True if its predictions are unknown.

    Tests the calls, or for the ROC-AUC the scores, and allows for picking the run from the whole ranking (Bonferroni).
    """
    if matrix.shared is None:
        return True
    labels = matrix.shared.labels
    called = labels == matrix.correct(index)
    number, cracks = len(labels), int(labels.sum())
    groups = matrix.groups if matrix.num_independent > 1 else None
    own = matrix.sample([index], metric) if metric == "roc_auc" else None
    if metric == "roc_auc" and own is None:
        return True
    if own is None and groups is not None and 0 < cracks < number:
        # calls are scores with two values: their ROC-AUC is 0.5 too if they are independent of the labels
        own = replicates.make_sample(roc_auc_scores(called.astype(float), labels)[None])
    by_images = statistics.fisher_exact(int((labels & called).sum()), int(called.sum()), cracks, number)
    if own is None:
        p_value = by_images
    elif groups is not None:
        p_value = replicates.p_value_above(own, CHANCE, groups, labels, by_images)
    elif own.scores.var() > 0:
        p_value = statistics.t_test_one_sided(own.mean - CHANCE, own.scores.var() / number, number - 1)
    elif own.mean > CHANCE:  # every crack scores above every other image
        p_value = statistics.fisher_exact(cracks, cracks, cracks, number)
    else:
        p_value = 1.0
    return p_value * len(matrix.ranking) < ALPHA


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
