"""The predictions of runs on the validation images: mistakes and disagreements."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crackdet.metrics.numpy_metrics import probabilities
from crackdet.store.run_store import Run


@dataclass(frozen=True)
class Predictions:
    """The content of a run's `predictions.csv`, an image a row."""

    names: Sequence[str]
    digests: Sequence[str]
    cracks: NDArray[np.bool_]  # (images,): the labels
    logits: NDArray[np.float64]  # (images,)

    @cached_property
    def called(self) -> NDArray[np.bool_]:
        """Whether the run calls it a crack: above probability 0.5."""
        return self.logits > 0

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Of a crack, (images,)."""
        return probabilities(self.logits)


@dataclass(frozen=True)
class Confusion:
    """The number of images by label and prediction."""

    hits: int
    misses: int
    false_alarms: int
    rejections: int


def read_predictions(run: Run) -> Predictions | None:
    """None where the file is missing, or is not what a run writes."""
    from crackdet.core.files import read_csv

    rows = read_csv(run.predictions_file)
    try:
        return Predictions(
            [row["image"] for row in rows],
            [row["digest"] for row in rows],
            np.array([row["crack"] == "1" for row in rows], dtype=bool),
            np.array([float(row["logit"]) for row in rows]),
        ) if rows else None  # fmt: skip
    except (KeyError, ValueError, TypeError):
        return None


def confusion(predictions: Predictions) -> Confusion:
    cracks, called = predictions.cracks, predictions.called
    return Confusion(
        int((cracks & called).sum()),
        int((cracks & ~called).sum()),
        int((~cracks & called).sum()),
        int((~cracks & ~called).sum()),
    )


def hardest(predictions: Predictions, max_images: int) -> list[int]:
    """Return the indices of the misclassified images, the most confident first."""
    wrong = np.flatnonzero(predictions.called != predictions.cracks)
    order = np.argsort(-np.abs(predictions.logits[wrong]), kind="stable")
    return [int(index) for index in wrong[order][:max_images]]


def disagreements(several: Sequence[Predictions], max_images: int) -> list[int]:
    """Return the indices of the images on which runs disagree, those with the most even votes first.

    Ties go to the widest range of probabilities. The runs must have the same images in the same order.
    """
    called = np.stack([predictions.called for predictions in several])
    chances = np.stack([predictions.probabilities for predictions in several])
    share = called.mean(axis=0)
    minority = np.minimum(share, 1 - share)
    indices = np.flatnonzero(minority > 0)
    order = np.lexsort((-np.ptp(chances, axis=0)[indices], -minority[indices]))
    return [int(index) for index in indices[order][:max_images]]
