"""What a ranking is decided by: for each run, which of the validation images it got right.

`result.json` holds it in a few hundred characters (`right`), so that comparing ten thousand runs opens no other file
of theirs; labels and groups, the same for all, are read from the predictions of one. Results from before that, and
metrics that need the logits, cost a `predictions.csv` each, which is read for the first `MOST_READ` of a ranking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crackdet.analysis import replicates
from crackdet.analysis.replicates import Sample
from crackdet.analysis.rows import RunRow
from crackdet.core.bitmask import Bytes, count, one_by_one, unpack
from crackdet.metrics.numpy_metrics import Bools, Floats, call_scores, roc_scores
from crackdet.store.predictions import Predictions, read_predictions

MOST_READ = 200  # files with predictions


@dataclass
class CorrectnessMatrix:
    """The runs of one ranking, all on the same images; the first ones are looked at first where not all can be."""

    ranking: Sequence[RunRow]

    @cached_property
    def images(self) -> int:
        return int(self.ranking[0].result.get("valid_images") or 0)

    @cached_property
    def shared(self) -> Predictions | None:
        """Of the first run whose file is sound: labels and groups are those of all."""
        for entry in self.ranking[:MOST_READ]:
            found = read_predictions(entry.run)
            if found is not None and len(found.labels) == self.images:
                return found
        return None

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """That the images (N,) belong to; None where each stands alone."""
        return self.shared.groups if self.shared else None

    def groups_of(self, metric: str) -> NDArray[np.int64] | None:
        """The same of those images that a metric speaks of."""
        if self.groups is None or self.shared is None or metric != "recall":
            return self.groups
        return np.unique(self.groups[self.shared.labels], return_inverse=True)[1]

    @property
    def draws(self) -> int:
        """How many images there are, or groups of them, that say something independently."""
        return self.images if self.groups is None else int(self.groups.max()) + 1

    @cached_property
    def packed(self) -> tuple[Bytes, Bools]:
        """Which images each run got right, eight a byte (runs, bytes), and of which runs that is known (runs,)."""
        number = self.images
        packed, known = unpack([entry.result.get("right") for entry in self.ranking], number)
        known &= count(packed) == np.round([entry.accuracy * number for entry in self.ranking])
        for place in np.flatnonzero(~known)[:MOST_READ]:
            predictions = read_predictions(self.ranking[place].run)
            if predictions is not None and len(predictions.labels) == number:
                packed[place] = np.packbits((predictions.logits > 0) == predictions.labels)
                known[place] = True
        return packed, known

    def counted(self, place: int, metric: str) -> int:
        """How many images, or groups, say something of a metric of the run at this place where it is 0 or 1."""
        right = self.right(place)
        if self.shared is None or right is None:
            return self.draws
        cracks, called = self.shared.labels, self.shared.labels == right
        said_by: Mapping[str, Sequence[Bools]] = {
            "recall": [cracks], "precision": [called], "f1": [cracks | called], "roc_auc": [cracks, ~cracks],
        }  # fmt: skip
        if self.groups is not None:
            every = np.ones(self.images, bool)
            return min(len(np.unique(self.groups[images])) for images in said_by.get(metric, [every]))
        if metric == "f1":
            return int(cracks.sum() + called.sum()) // 2
        return min((int(images.sum()) for images in said_by.get(metric, [])), default=self.images)

    def right(self, place: int) -> Bools | None:
        """Which images (N,) the run at this place of the ranking got right; None where that is not known."""
        packed, known = self.packed
        return one_by_one(packed[place], self.images) if known[place] else None

    def sample(self, places: Sequence[int], metric: str) -> Sample | None:
        """What the runs at these places show of a metric; None where it is known of none of them."""
        if metric == "roc_auc":
            found = [scores for place in places if (scores := self._roc_scores(place)) is not None]
            return replicates.sample(np.stack(found), draws=self._fewer) if found else None
        packed, known = self.packed
        right = one_by_one(packed[places][known[places]], self.images)
        if metric == "accuracy":
            return replicates.sample(right.astype(float), right) if len(right) else None
        if not len(right) or self.shared is None or not self.shared.labels.any():
            return None
        labels = self.shared.labels
        scores = np.stack([call_scores(metric, one, labels) for one in right])
        return replicates.sample(scores, right[:, labels] if metric == "recall" else right)

    @cached_property
    def _fewer(self) -> int | None:
        """Groups of the class that is in fewer: the scores of a ROC-AUC vary within each class."""
        if self.groups is None or self.shared is None:
            return None
        return min(len(np.unique(self.groups[labels])) for labels in (self.shared.labels, ~self.shared.labels))

    def _roc_scores(self, place: int) -> Floats | None:
        predictions = read_predictions(self.ranking[place].run) if place < MOST_READ else None
        if predictions is None or len(predictions.labels) != self.images:
            return None
        return roc_scores(predictions.logits, predictions.labels)
