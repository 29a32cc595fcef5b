"""Recall and the rate of false alarms with their intervals: metrics that images of one class are enough for."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdet.analysis.replicates import confidence_interval, make_sample
from crackdet.data.records import ImageRecord


class Rate(NamedTuple):
    """A share of images with its 95 % interval, in which images of one group count as one observation."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def measure_rate(records: Sequence[ImageRecord], predicted: NDArray[np.bool_], crack: bool) -> Rate | None:
    """Return the share of the images of one class that are predicted as cracks; None if there is no such image.

    Args:
        records: The images (N,).
        predicted: (N,): True predicts a crack.
        crack: The class: True gives the recall, False the rate of false alarms.
    """
    members = [index for index, record in enumerate(records) if record.crack is crack]
    if not members:
        return None
    hits = predicted[members]
    groups = None
    if any(records[index].group for index in members):
        names = [records[index].group or f"\0{index}" for index in members]
        groups = np.unique(names, return_inverse=True)[1]
    sample = make_sample(hits[None].astype(float), (hits == crack)[None])
    return Rate(float(hits.mean()), *confidence_interval(sample, groups))
