"""What is said of a set of logits: everything at probability 0.5, and what needs no threshold."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_stat_scores,
)

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
    called, targets = (logits > 0).long(), labels.long()  # above 0 is above probability 0.5, without rounding
    hits, false_alarms, rejections, misses, _ = binary_stat_scores(called, targets).tolist()
    # as probabilities, since torchmetrics would take logits that happen to lie in [0, 1] for probabilities
    probabilities = logits.double().sigmoid()
    return Metrics(
        loss=binary_cross_entropy_with_logits(logits, labels, pos_weight=weight).item(),
        accuracy=(hits + rejections) / len(labels),
        precision=hits / max(hits + false_alarms, 1),
        recall=hits / max(hits + misses, 1),
        f1=2 * hits / max(2 * hits + false_alarms + misses, 1),
        roc_auc=binary_auroc(probabilities, targets).item(),
    )


@dataclass(frozen=True)
class ScoreMetrics:
    """What is said of a result besides, once, since no epoch is chosen by it."""

    average_precision: float  # the area under precision over recall
    calibration_error: float  # expected difference of probability and frequency (Guo et al. 2017, arXiv:1706.04599)


def measure_scores(logits: Tensor, labels: Tensor) -> ScoreMetrics:
    """Threshold-free metrics of logits (N,) against labels (N,) in {0, 1}."""
    probabilities, targets = logits.double().sigmoid(), labels.long()
    return ScoreMetrics(
        average_precision=binary_average_precision(probabilities, targets).item(),
        calibration_error=binary_calibration_error(probabilities, targets, n_bins=BINS).item(),
    )
