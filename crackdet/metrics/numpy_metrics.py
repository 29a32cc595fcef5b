"""What is said of a network's calls and scores, image by image, so that its chance error follows too.

Each ranking metric is written as the mean of one score an image. For accuracy that is whether the image is right;
for the others it is the metric plus the image's influence on it (Efron 1982, "The Jackknife, the Bootstrap and Other
Resampling Plans", ch. 6), which for the ROC-AUC gives the variance of DeLong et al. (1988, Biometrics 44, 837).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def probabilities(logits: Iterable[float]) -> Floats:
    """Of a crack, (N,): in double precision, so that a logit above 0 is always a probability above 0.5.

    One by one: vector instructions round the last bit otherwise than what is left over at the end of an array.
    """
    return np.array([_logistic(float(logit)) for logit in logits], float)


def _logistic(logit: float) -> float:
    small = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else small) / (1.0 + small)


def call_scores(metric: str, right: Bools, labels: Bools) -> Floats:
    """The scores of a metric that follows from which images are right; their mean is the metric.

    There is one for each image, (N,), but of recall for each with a crack: it speaks of no other.
    """
    if metric == "accuracy":
        return right.astype(float)
    if metric == "recall":
        return right[labels].astype(float)
    called = right == labels
    hits = (called & labels).astype(float)
    part, whole = (2 * hits, called.astype(float) + labels) if metric == "f1" else (hits, called.astype(float))
    value = part.sum() / max(whole.sum(), 1)
    influence = (part - value * whole) / max(whole.mean(), 1 / len(right))  # on a ratio of sums
    scores: Floats = value + influence
    return scores


def roc_scores(logits: Floats, labels: Bools) -> Floats:
    """The scores (N,) of the ROC-AUC, the chance that an image with a crack has the larger logit; ties count half."""
    cracks, others = np.sort(logits[labels]), np.sort(logits[~labels])
    below = (np.searchsorted(others, logits, "left") + np.searchsorted(others, logits, "right")) / (2 * len(others))
    above = 1 - (np.searchsorted(cracks, logits, "left") + np.searchsorted(cracks, logits, "right")) / (2 * len(cracks))
    beaten = np.where(labels, below, above)  # the share of the other class on the right side of the image
    value = below[labels].mean()
    share = np.where(labels, labels.mean(), 1 - labels.mean())  # of the image's class
    scores: Floats = value + (beaten - value) / share
    return scores


@dataclass(frozen=True)
class Threshold:
    """Where to put the threshold so that so many of the cracks are found, and what that costs."""

    recall: float
    probability: float  # an image is called a crack above it; written with no more digits than it takes
    false_alarms: float  # share of the images without a crack that are called one
    cracks: int  # images with a crack that this was measured on


def threshold_for_recall(logits: Floats, labels: Bools, recall: float) -> Threshold:
    """A threshold that finds at least `recall` (above 0, at most 1) of the cracks and calls no image needlessly."""
    chances = probabilities(logits)
    cracks = np.sort(chances[labels])[::-1]
    wanted = max(int(np.ceil(recall * len(cracks) - 1e-9)), 1)
    least = float(cracks[wanted - 1])  # that is to be called
    probability = _short(float(chances[chances < least].max(initial=0.0)), least)
    called = chances > probability
    return Threshold(float(called[labels].mean()), probability, float(called[~labels].mean()), len(cracks))


def _short(low: float, high: float) -> float:
    """A number from `low` to below `high` of few digits."""
    for scale in (10.0**digits for digits in range(2, 16)):
        found = (math.ceil(high * scale) - 1) / scale
        if low <= found < high:
            return found
    return low
