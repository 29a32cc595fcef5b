"""What is said of a set of logits: everything at probability 0.5, and what needs no threshold.

torchmetrics has all of it, and takes four seconds to import, with torchvision, matplotlib and scipy behind it: more
than a small run takes to train. So it is the reference of the tests instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

BINS = 15  # of the calibration error, as usual


@dataclass(frozen=True)
class Metrics:
    loss: float  # averaged per image
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc_auc: float


def measure(logits: Tensor, labels: Tensor, pos_weight: float | None = None) -> Metrics:
    """Metrics of logits (N,) against labels (N,) in {0, 1}; an image is called a crack above probability 0.5."""
    weight = None if pos_weight is None else torch.tensor(pos_weight)
    called, cracks = logits > 0, labels > 0.5  # above 0 is above probability 0.5, without rounding
    hits, false_alarms, misses = (int(both.sum()) for both in (called & cracks, called & ~cracks, ~called & cracks))
    return Metrics(
        loss=binary_cross_entropy_with_logits(logits, labels, pos_weight=weight).item(),
        accuracy=(len(labels) - false_alarms - misses) / len(labels),
        precision=hits / max(hits + false_alarms, 1),
        recall=hits / max(hits + misses, 1),
        f1=2 * hits / max(2 * hits + false_alarms + misses, 1),
        roc_auc=roc_auc(logits, cracks),
    )


@dataclass(frozen=True)
class ScoreMetrics:
    """What is said of a result besides, once, since no epoch is chosen by it."""

    average_precision: float  # the area under precision over recall
    calibration_error: float  # expected difference of probability and frequency (Guo et al. 2017, arXiv:1706.04599)


def measure_scores(logits: Tensor, labels: Tensor) -> ScoreMetrics:
    """Threshold-free metrics of logits (N,) against labels (N,) in {0, 1}."""
    cracks = labels > 0.5
    return ScoreMetrics(average_precision(logits, cracks), calibration_error(logits.double().sigmoid(), cracks))


def roc_auc(scores: Tensor, positive: Tensor) -> float:
    """The chance that a positive has the higher score (N,), a tie counting half: Mann and Whitney's U over its maximum.

    0 where all or none of `positive` (N,) are true.
    """
    _, group, sizes = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = sizes.cumsum(0) - (sizes - 1) / 2  # equal scores share the mean of their ranks
    positives = int(positive.sum())
    pairs = positives * (len(positive) - positives)
    above = float(ranks.double()[group][positive].sum()) - positives * (positives + 1) / 2
    return above / pairs if pairs else 0.0


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Precision at each score (N,), weighted with the recall that is gained there; 0 without positives (N,).

    That is the area under the steps of precision over recall, as of scikit-learn's `average_precision_score`.
    """
    _, group, sizes = torch.unique(scores, return_inverse=True, return_counts=True)
    gained = torch.bincount(group, positive.double(), minlength=len(sizes)).flip(0)  # from the highest score down
    precision = gained.cumsum(0) / sizes.flip(0).cumsum(0)
    return float((precision * gained).sum()) / max(int(positive.sum()), 1)


def calibration_error(probabilities: Tensor, positive: Tensor) -> float:
    """Mean difference between probability (N,) and frequency of `positive` (N,), over bins of equal width."""
    bins = (probabilities * BINS).long().clamp(max=BINS - 1)
    differences = torch.bincount(bins, probabilities - positive.double())
    return float(differences.abs().sum()) / len(positive)
