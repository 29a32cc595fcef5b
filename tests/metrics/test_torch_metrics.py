"""Metrics of logits equal their definitions and those of torchmetrics."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torchmetrics.functional import classification

from crackdet.metrics.torch_metrics import compute_metrics, compute_score_metrics

LOGITS = st.floats(-30, 30, width=32)
SAMPLES = st.lists(st.tuples(LOGITS, st.booleans()), min_size=2, max_size=40)


@given(SAMPLES)
def test_metrics_equal_their_definitions(samples: list[tuple[float, bool]]) -> None:
    logits, labels = torch.tensor([s[0] for s in samples]), torch.tensor([float(s[1]) for s in samples])
    metrics = compute_metrics(logits, labels)
    predicted = [logit > 0 for logit, _ in samples]  # probability above 0.5
    hits = sum(p and crack for p, (_, crack) in zip(predicted, samples, strict=True))
    assert metrics.accuracy == sum(p == s[1] for p, s in zip(predicted, samples, strict=True)) / len(samples)
    assert metrics.precision == (hits / sum(predicted) if any(predicted) else 0)
    cracks = sum(s[1] for s in samples)
    assert metrics.recall == (hits / cracks if cracks else 0)
    if hits:
        assert metrics.f1 == pytest.approx(2 / (1 / metrics.precision + 1 / metrics.recall))


@given(SAMPLES.filter(lambda samples: len({crack for _, crack in samples}) == 2))
def test_the_roc_auc_is_the_probability_that_a_crack_scores_higher(samples: list[tuple[float, bool]]) -> None:
    metrics = compute_metrics(torch.tensor([s[0] for s in samples]), torch.tensor([float(s[1]) for s in samples]))
    cracks = [score for score, crack in samples if crack]
    others = [score for score, crack in samples if not crack]
    wins = sum((a > b) + 0.5 * (a == b) for a in cracks for b in others)
    assert metrics.roc_auc == pytest.approx(wins / (len(cracks) * len(others)), abs=1e-12)


@given(SAMPLES)
@example([(0.0, False)] * 15 + [(0.45600000023841858, False), (0.45600000023841858, True)])
@pytest.mark.filterwarnings("ignore:No :UserWarning")
def test_metrics_without_a_threshold_equal_those_of_torchmetrics(samples: list[tuple[float, bool]]) -> None:
    logits, labels = torch.tensor([s[0] for s in samples]), torch.tensor([s[1] for s in samples])
    unique, indices = logits.unique(return_inverse=True)
    probabilities = unique.double().sigmoid()[indices]  # equal for equal logits: AVX2 rounds the last ones differently
    scores = compute_score_metrics(logits, labels.float())
    expected = classification.binary_calibration_error(probabilities, labels.long(), n_bins=15).item()
    assert scores["calibration_error"] == pytest.approx(expected, abs=1e-6)
    if len(probabilities.unique()) < len(logits.unique()):
        return  # different logits have the same probability
    expected = classification.binary_average_precision(probabilities, labels.long()).item()
    assert scores["average_precision"] == pytest.approx(expected, abs=1e-6)
    expected = classification.binary_auroc(probabilities, labels.long()).item()
    assert compute_metrics(logits, labels.float()).roc_auc == pytest.approx(expected, abs=1e-6)


def test_logits_between_0_and_1_are_not_mistaken_for_probabilities() -> None:
    metrics = compute_metrics(torch.tensor([0.2, 0.9]), torch.tensor([1.0, 1.0]))
    assert metrics.accuracy == 1


def test_the_smallest_positive_logit_is_a_crack() -> None:
    assert compute_metrics(torch.tensor([1e-9, -1e-9]), torch.tensor([1.0, 0.0])).accuracy == 1


def test_the_loss_is_the_mean_over_images_with_weighted_cracks() -> None:
    logits, labels = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log1p(math.exp(0.5))]
    assert compute_metrics(logits, labels).loss == pytest.approx(sum(terms) / 3, rel=1e-6)
    weighted = compute_metrics(logits, labels, pos_weight=3.0)
    assert weighted.loss == pytest.approx((3 * terms[0] + sum(terms[1:])) / 3, rel=1e-6)
