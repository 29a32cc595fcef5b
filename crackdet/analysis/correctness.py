"""Which validation images each run of a ranking classifies correctly.

`result.json` holds this in a few hundred characters (`right`), so comparing ten thousand runs opens none of their other
files. Labels and groups are the same for all runs and are read from the predictions of one. The ROC-AUC needs the
predictions of every run: the first `MAX_PREDICTIONS_READ` are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crackdet.analysis import replicates
from crackdet.analysis.replicates import ScoreSample
from crackdet.analysis.rows import RunRow
from crackdet.core.bitmask import Bytes, decode, unpack
from crackdet.metrics.numpy_metrics import Bools, Floats, correctness_scores, roc_auc_scores
from crackdet.store.predictions import Predictions, read_predictions

MAX_PREDICTIONS_READ = 200  # files a ranking


@dataclass
class CorrectnessMatrix:
    """The runs of one ranking, the best first, by the validation images that all of them were evaluated on."""

    ranking: Sequence[RunRow]
    _scores: dict[int, Floats | None] = field(default_factory=dict, repr=False)  # ROC-AUC scores by run index

    @cached_property
    def num_images(self) -> int:
        return int(self.ranking[0].result["valid_images"])

    @cached_property
    def shared(self) -> Predictions | None:
        """The predictions of the first run whose file is valid; their labels and groups are those of all runs."""
        for row in self.ranking[:MAX_PREDICTIONS_READ]:
            predictions = read_predictions(row.run)
            if predictions is not None and len(predictions.labels) == self.num_images:
                return predictions
        return None

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """The group of each image (N,); None if every image stands alone."""
        return self.shared.groups if self.shared else None

    def groups_of(self, metric: str) -> NDArray[np.int64] | None:
        """Return the groups of the images that a metric depends on: for recall, those with a crack."""
        if self.groups is None or self.shared is None or metric != "recall":
            return self.groups
        return np.unique(self.groups[self.shared.labels], return_inverse=True)[1]

    @property
    def num_independent(self) -> int:
        """The number of groups, or of images if every image stands alone."""
        return self.num_images if self.groups is None else int(self.groups.max()) + 1

    @cached_property
    def packed(self) -> Bytes:
        """The correct images of each run, eight a byte (runs, bytes); none if the results of a ranking lack them."""
        return decode([row.result.get("right") for row in self.ranking], self.num_images)[0]

    def num_relevant(self, index: int, metric: str) -> int:
        """Return how many images, or groups, enter a metric of a run: its sample size if the metric is 0 or 1."""
        if self.shared is None:
            return self.num_independent
        cracks, predicted = self.shared.labels, self.shared.labels == self.correct(index)
        relevant: Mapping[str, Sequence[Bools]] = {
            "recall": [cracks], "precision": [predicted], "f1": [cracks | predicted], "roc_auc": [cracks, ~cracks],
        }  # fmt: skip
        if self.groups is not None:
            every = np.ones(self.num_images, bool)
            return min(len(np.unique(self.groups[images])) for images in relevant.get(metric, [every]))
        if metric == "f1":
            return int(cracks.sum() + predicted.sum()) // 2
        return min((int(images.sum()) for images in relevant.get(metric, [])), default=self.num_images)

    def correct(self, indices: int | Sequence[int]) -> Bools:
        """Return which images (..., N) a run of the ranking, or several runs, classify correctly."""
        return unpack(self.packed[indices], self.num_images)

    def sample(self, indices: Sequence[int], metric: str) -> ScoreSample | None:
        """Return the scores of some runs of the ranking; None if they are unknown for all of them."""
        if metric == "roc_auc":
            found = [scores for index in indices if (scores := self._roc_scores(index)) is not None]
            rarer = min(self.groups_by_class.values(), default=None)  # scores vary within each class
            return replicates.make_sample(np.stack(found), num_groups=rarer) if found else None
        correct = self.correct(indices)
        if metric == "accuracy":
            return replicates.make_sample(correct.astype(float), correct)
        if self.shared is None or not self.shared.labels.any():
            return None
        labels = self.shared.labels
        scores = np.stack([correctness_scores(metric, one, labels) for one in correct])
        return replicates.make_sample(scores, correct[:, labels] if metric == "recall" else correct)

    @cached_property
    def groups_by_class(self) -> dict[bool, int]:
        """The number of groups with a crack (True), and of those with another image (False); empty without groups."""
        if self.groups is None or self.shared is None:
            return {}
        labels, groups = self.shared.labels, self.groups
        return {has_crack: len(np.unique(groups[labels == has_crack])) for has_crack in (True, False)}

    def _roc_scores(self, index: int) -> Floats | None:
        if index not in self._scores:
            predictions = read_predictions(self.ranking[index].run) if index < MAX_PREDICTIONS_READ else None
            labels = np.zeros(0) if predictions is None else predictions.labels
            if predictions is None or len(labels) != self.num_images or not 0 < labels.sum() < len(labels):
                self._scores[index] = None
            else:
                self._scores[index] = roc_auc_scores(predictions.logits, predictions.labels)
        return self._scores[index]
