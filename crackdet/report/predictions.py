"""The predictions of runs on the validation images: mistakes and disagreements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crackdet.metrics.numpy_metrics import probabilities
from crackdet.store.predictions import Predictions


@dataclass(frozen=True)
class Confusion:
    """The number of images by label and prediction."""

    hits: int
    misses: int
    false_alarms: int
    rejections: int


def confusion(predictions: Predictions) -> Confusion:
    cracks, called = predictions.labels, predictions.predicted
    return Confusion(
        int((cracks & called).sum()),
        int((cracks & ~called).sum()),
        int((~cracks & called).sum()),
        int((~cracks & ~called).sum()),
    )


def hardest(predictions: Predictions, max_images: int) -> list[int]:
    """Return the indices of the misclassified images, the most confident first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    order = np.argsort(-np.abs(predictions.logits[wrong]), kind="stable")
    return [int(index) for index in wrong[order][:max_images]]


def disagreements(several: Sequence[Predictions], max_images: int) -> list[int]:
    """Return the indices of the images on which runs disagree, those with the most even votes first.

    Ties go to the widest range of probabilities. The runs must have the same images in the same order.
    """
    called = np.stack([predictions.predicted for predictions in several])
    ranges = np.ptp(np.stack([probabilities(predictions.logits) for predictions in several]), axis=0)
    share = called.mean(axis=0)
    minority = np.minimum(share, 1 - share)
    indices = np.flatnonzero(minority > 0)
    order = np.lexsort((-ranges[indices], -minority[indices]))
    return [int(index) for index in indices[order][:max_images]]
