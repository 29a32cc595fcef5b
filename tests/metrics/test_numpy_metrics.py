"""Scores whose mean is a metric, and thresholds for a recall."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crackdet.metrics.numpy_metrics import correctness_scores, probabilities, roc_auc_scores, threshold_for_recall
from crackdet.metrics.torch_metrics import compute_metrics

samples = st.lists(
    st.tuples(st.integers(-60, 60).map(lambda tenths: tenths / 10), st.booleans()), min_size=2, max_size=40
).filter(lambda drawn: len({crack for _, crack in drawn}) == 2)


@given(samples)
def test_the_mean_score_is_the_metric(sample: list[tuple[float, bool]]) -> None:
    logits, labels = np.array([logit for logit, _ in sample]), np.array([crack for _, crack in sample])
    expected = compute_metrics(torch.tensor(logits), torch.tensor(labels, dtype=torch.float64))
    correct = (logits > 0) == labels
    for metric in ("accuracy", "recall", "precision", "f1"):
        assert correctness_scores(metric, correct, labels).mean() == pytest.approx(getattr(expected, metric), abs=1e-9)
    assert roc_auc_scores(logits, labels).mean() == pytest.approx(expected.roc_auc, abs=1e-6)


@pytest.mark.parametrize("metric", ["recall", "precision", "f1", "roc_auc"])
def test_the_variance_of_the_scores_is_that_of_a_bootstrap(metric: str) -> None:
    random = np.random.default_rng(0)
    labels = random.random(400) < 0.4
    logits = random.normal(size=400) + np.where(labels, 1.5, -1.5)

    def scores(indices: np.ndarray) -> np.ndarray:
        chosen, cracks = logits[indices], labels[indices]
        if metric == "roc_auc":
            return roc_auc_scores(chosen, cracks)
        return correctness_scores(metric, (chosen > 0) == cracks, cracks)

    resampled = [scores(random.integers(0, 400, 400)).mean() for _ in range(1500)]
    original = scores(np.arange(400))
    assert original.var() / len(original) == pytest.approx(np.var(resampled), rel=0.15)


@given(samples, st.floats(0.01, 1))
def test_the_threshold_is_the_highest_with_the_recall(sample: list[tuple[float, bool]], recall: float) -> None:
    logits, labels = np.array([logit for logit, _ in sample]), np.array([crack for _, crack in sample])
    threshold = threshold_for_recall(logits, labels, recall)
    scores = probabilities(logits)
    cracks = scores[labels]
    lowest = max(score for score in cracks if (cracks >= score).mean() >= recall - 1e-9)
    predicted = scores > float(repr(threshold.probability))  # as a user copies it
    assert (predicted == (scores >= lowest)).all()
    assert threshold.recall == cracks[cracks >= lowest].size / cracks.size
    assert threshold.false_alarms == predicted[~labels].mean()


def test_a_threshold_has_few_digits() -> None:
    logits = np.array([3.3, 1.7, 0.2, -4.0])
    assert threshold_for_recall(logits, np.array([True, True, False, False]), 1).probability == 0.84
