"""Metrics as means of one score per image, so that their standard errors follow, and decision thresholds.

The score of an image is whether its prediction is correct (accuracy, recall), else the metric plus the image's
influence on it (Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", ch. 6). For the ROC-AUC this
gives the variance of DeLong et al. (1988, Biometrics 44, 837).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def probabilities(logits: Iterable[float]) -> Floats:
    """Return the probabilities (N,) of a crack in double precision: above 0.5 if and only if the logit is above 0."""
    # not vectorised: vector instructions round the last bits differently from the code for the end of an array
    return np.array([_logistic(float(logit)) for logit in logits], float)


def _logistic(logit: float) -> float:
    small = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else small) / (1.0 + small)


def correctness_scores(metric: str, correct: Bools, labels: Bools) -> Floats:
    """Return the scores whose mean is accuracy, recall, precision or f1, from which images (N,) are correct.

    There is one per image, (N,), except for recall: one per image with a crack.
    """
    if metric == "accuracy":
        return correct.astype(float)
    if metric == "recall":
        return correct[labels].astype(float)
    predicted = correct == labels
    hits = (predicted & labels).astype(float)
    # both metrics are ratios of sums
    part, total = (2 * hits, predicted.astype(float) + labels) if metric == "f1" else (hits, predicted.astype(float))
    value = part.sum() / max(total.sum(), 1)
    return np.asarray(value + (part - value * total) / max(total.mean(), 1 / len(correct)))


def roc_auc_scores(logits: Floats, labels: Bools) -> Floats:
    """Return the scores (N,) whose mean is the ROC-AUC; ties count half."""
    cracks, others = np.sort(logits[labels]), np.sort(logits[~labels])
    below = (np.searchsorted(others, logits, "left") + np.searchsorted(others, logits, "right")) / (2 * len(others))
    above = 1 - (np.searchsorted(cracks, logits, "left") + np.searchsorted(cracks, logits, "right")) / (2 * len(cracks))
    beaten = np.where(labels, below, above)  # share of the other class that the image is ranked correctly against
    value = below[labels].mean()
    class_share = np.where(labels, labels.mean(), 1 - labels.mean())
    return np.asarray(value + (beaten - value) / class_share)


@dataclass(frozen=True)
class Threshold:
    """A decision threshold, and its recall and false positives on the images that it was chosen on."""

    recall: float
    probability: float  # a larger one predicts a crack; has no more digits than necessary
    false_alarms: float  # share of the images without a crack that are predicted as cracks
    cracks: int  # number of images with a crack


def threshold_for_recall(logits: Floats, labels: Bools, recall: float) -> Threshold:
    """Return the highest threshold with at least this recall (above 0, at most 1)."""
    scores = probabilities(logits)
    cracks = np.sort(scores[labels])[::-1]
    num_found = max(int(np.ceil(recall * len(cracks) - 1e-9)), 1)
    lowest = float(cracks[num_found - 1])  # of the cracks to be found
    probability = _shortest_decimal(float(scores[scores < lowest].max(initial=0.0)), lowest)
    predicted = scores > probability
    return Threshold(float(predicted[labels].mean()), probability, float(predicted[~labels].mean()), len(cracks))


def _shortest_decimal(low: float, high: float) -> float:
    """Return a number with few digits that is at least `low` and below `high`."""
    for scale in (10.0**digits for digits in range(2, 16)):
        number = (math.ceil(high * scale) - 1) / scale
        if low <= number < high:
            return number
    return low
