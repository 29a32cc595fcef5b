"""Metrics of logits: those at probability 0.5, and those without a threshold.

torchmetrics has all of them, but takes four seconds to import, with torchvision, matplotlib and scipy: longer than a
small run trains. It is the reference of the tests instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

CALIBRATION_BINS = 15  # the usual number


@dataclass(frozen=True)
class Metrics:
    loss: float  # mean over images
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc_auc: float


def compute_metrics(logits: Tensor, labels: Tensor, pos_weight: float | None = None) -> Metrics:
    """Compute the metrics of logits (N,) for labels (N,) in {0, 1}; a probability above 0.5 predicts a crack."""
    weight = None if pos_weight is None else torch.tensor(pos_weight)
    predicted, cracks = logits > 0, labels > 0.5  # a logit above 0 is a probability above 0.5, without rounding
    true_positives = int((predicted & cracks).sum())
    false_positives = int((predicted & ~cracks).sum())
    false_negatives = int((~predicted & cracks).sum())
    errors = false_positives + false_negatives
    return Metrics(
        loss=binary_cross_entropy_with_logits(logits, labels, pos_weight=weight).item(),
        accuracy=(len(labels) - errors) / len(labels),
        precision=true_positives / max(true_positives + false_positives, 1),
        recall=true_positives / max(true_positives + false_negatives, 1),
        f1=2 * true_positives / max(2 * true_positives + errors, 1),
        roc_auc=roc_auc(logits, cracks),
    )


def compute_score_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Compute metrics that no epoch is selected by, of logits (N,) for labels (N,) in {0, 1}."""
    cracks = labels > 0.5
    return {
        "average_precision": average_precision(logits, cracks),
        "calibration_error": calibration_error(logits.double().sigmoid(), cracks),
    }


def roc_auc(scores: Tensor, positive: Tensor) -> float:
    """Return the area under the ROC curve of scores (N,), by the Mann-Whitney U statistic; ties count half.

    0 if all or none of `positive` (N,) are true.
    """
    _, group, sizes = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = sizes.cumsum(0) - (sizes - 1) / 2  # equal scores share their mean rank
    positives = int(positive.sum())
    pairs = positives * (len(positive) - positives)
    u_statistic = float(ranks.double()[group][positive].sum()) - positives * (positives + 1) / 2
    return u_statistic / pairs if pairs else 0.0


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Return the average precision of scores (N,), as scikit-learn's `average_precision_score`; 0 without positives."""
    _, group, sizes = torch.unique(scores, return_inverse=True, return_counts=True)
    true_positives = torch.bincount(group, positive.double(), minlength=len(sizes)).flip(0)  # highest score first
    precision = true_positives.cumsum(0) / sizes.flip(0).cumsum(0)
    return float((precision * true_positives).sum()) / max(int(positive.sum()), 1)


def calibration_error(probabilities: Tensor, positive: Tensor) -> float:
    """Return the expected calibration error of probabilities (N,) of `positive` (N,), over bins of equal width.

    Guo et al. 2017, arXiv:1706.04599.
    """
    bins = (probabilities * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    differences = torch.bincount(bins, probabilities - positive.double())
    return float(differences.abs().sum()) / len(positive)
