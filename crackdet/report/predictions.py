"""What runs said of the validation images: where they were wrong, and where they disagree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crackdet.metrics.numpy_metrics import probabilities
from crackdet.store.predictions import Predictions


@dataclass(frozen=True)
class Confusion:
    """Images by what they are and what they were called."""

    hits: int  # cracks called cracks
    misses: int  # cracks called none
    false_alarms: int
    rejections: int


def confusion(predictions: Predictions) -> Confusion:
    cracks, called = predictions.labels, predictions.called
    return Confusion(
        int((cracks & called).sum()),
        int((cracks & ~called).sum()),
        int((~cracks & called).sum()),
        int((~cracks & ~called).sum()),
    )


def hardest(predictions: Predictions, most: int) -> list[int]:
    """The images on which the run is wrong, those first of which it was surest."""
    wrong = np.flatnonzero(predictions.called != predictions.labels)
    order = np.argsort(-np.abs(predictions.logits[wrong]), kind="stable")
    return [int(index) for index in wrong[order][:most]]


def disagreements(several: Sequence[Predictions], most: int) -> list[int]:
    """The images on which runs disagree, the most divided first; among those, where probabilities lie furthest apart.

    The runs must have judged the same images in the same order.
    """
    called = np.stack([predictions.called for predictions in several])
    spread = np.ptp(np.stack([probabilities(predictions.logits) for predictions in several]), axis=0)
    share = called.mean(axis=0)
    divided = np.minimum(share, 1 - share)
    places = np.flatnonzero(divided > 0)
    order = np.lexsort((-spread[places], -divided[places]))
    return [int(index) for index in places[order][:most]]
