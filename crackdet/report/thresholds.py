"""The operating points of a run: its precision-recall curve, and the thresholds that find most cracks."""

from dataclasses import dataclass

import numpy as np

from crackdet.metrics.numpy_metrics import Bools, Floats, probabilities, threshold_for_recall
from crackdet.store.predictions import Predictions

RECALLS = (0.9, 0.95, 0.99, 1.0)
MAX_CURVE_POINTS = 400


@dataclass(frozen=True)
class OperatingPoint:
    """A decision threshold, and the metrics of the validation images above it."""

    threshold: float  # a larger probability predicts a crack
    recall: float
    precision: float
    false_alarms: float  # share of the images without a crack that are predicted as cracks


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision and recall (N,) at each threshold (N,), by rising recall."""

    thresholds: Floats
    precision: Floats
    recall: Floats


def precision_recall_curve(predictions: Predictions) -> PrecisionRecallCurve | None:
    """Return the curve over all different probabilities, as scikit-learn's `precision_recall_curve`.

    At most `MAX_CURVE_POINTS` points are kept. None if all images are of one class.
    """
    labels = predictions.labels
    if not labels.any() or labels.all():
        return None
    scores = probabilities(predictions.logits)
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last image of each probability
    if len(last) > MAX_CURVE_POINTS:
        last = last[np.linspace(0, len(last) - 1, MAX_CURVE_POINTS).astype(int)]
    hits = np.cumsum(labels[order])[last]
    return PrecisionRecallCurve(scores[order][last], hits / (last + 1), hits / labels.sum())


def operating_points(predictions: Predictions) -> list[OperatingPoint]:
    """Return the default threshold of 0.5, and the highest thresholds that find these shares of the cracks.

    The list is empty if all images are of one class.
    """
    labels = predictions.labels
    if not labels.any() or labels.all():
        return []
    found = (threshold_for_recall(predictions.logits, labels, recall).probability for recall in RECALLS)
    scores = probabilities(predictions.logits)
    return [
        _operating_point(scores > threshold, labels, threshold) for threshold in sorted({0.5, *found}, reverse=True)
    ]


def _operating_point(called: Bools, labels: Bools, threshold: float) -> OperatingPoint:
    return OperatingPoint(
        threshold,
        recall=float(called[labels].mean()),
        precision=float(labels[called].mean()) if called.any() else 0.0,
        false_alarms=float(called[~labels].mean()),
    )
