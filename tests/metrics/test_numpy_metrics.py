"""Scores whose mean is a metric, and the threshold that finds the cracks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crackdet.metrics.numpy_metrics import call_scores, probabilities, roc_scores, threshold_for_recall
from crackdet.metrics.torch_metrics import measure

samples = st.lists(
    st.tuples(st.integers(-60, 60).map(lambda tenths: tenths / 10), st.booleans()), min_size=2, max_size=40
).filter(lambda found: len({crack for _, crack in found}) == 2)


@given(samples)
def test_the_mean_score_is_the_metric(found: list[tuple[float, bool]]) -> None:
    logits, labels = np.array([logit for logit, _ in found]), np.array([crack for _, crack in found])
    expected = measure(torch.tensor(logits), torch.tensor(labels, dtype=torch.float64))
    right = (logits > 0) == labels
    for metric in ("accuracy", "recall", "precision", "f1"):
        assert call_scores(metric, right, labels).mean() == pytest.approx(getattr(expected, metric), abs=1e-9)
    assert roc_scores(logits, labels).mean() == pytest.approx(expected.roc_auc, abs=1e-6)


@pytest.mark.parametrize("metric", ["recall", "precision", "f1", "roc_auc"])
def test_the_variance_of_the_scores_is_that_of_a_bootstrap(metric: str) -> None:
    random = np.random.default_rng(0)
    labels = random.random(400) < 0.4
    logits = random.normal(size=400) + np.where(labels, 1.5, -1.5)

    def scores(places: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        own, cracks = logits[places], labels[places]
        return roc_scores(own, cracks) if metric == "roc_auc" else call_scores(metric, (own > 0) == cracks, cracks)

    drawn = [scores(random.integers(0, 400, 400)).mean() for _ in range(1500)]
    own = scores(np.arange(400))
    assert own.var() / len(own) == pytest.approx(np.var(drawn), rel=0.15)


@given(samples, st.floats(0.01, 1))
def test_above_the_threshold_are_so_many_cracks_and_no_more(found: list[tuple[float, bool]], recall: float) -> None:
    logits, labels = np.array([logit for logit, _ in found]), np.array([crack for _, crack in found])
    threshold = threshold_for_recall(logits, labels, recall)
    chances = probabilities(logits)
    cracks = chances[labels]
    least = max(one for one in cracks if (cracks >= one).mean() >= recall - 1e-9)
    called = chances > float(repr(threshold.probability))  # as a user copies it
    assert (called == (chances >= least)).all()
    assert threshold.recall == cracks[cracks >= least].size / cracks.size
    assert threshold.false_alarms == called[~labels].mean()


def test_a_threshold_has_few_digits() -> None:
    logits = np.array([3.3, 1.7, 0.2, -4.0])
    assert threshold_for_recall(logits, np.array([True, True, False, False]), 1).probability == 0.84
