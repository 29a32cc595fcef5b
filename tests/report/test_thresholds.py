"""Precision-recall curves and thresholds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crackdet.metrics.numpy_metrics import probabilities
from crackdet.metrics.torch_metrics import average_precision
from crackdet.report.thresholds import MAX_CURVE_POINTS, RECALLS, operating_points, precision_recall_curve
from crackdet.store.predictions import Predictions

LOGITS = st.lists(st.tuples(st.booleans(), st.integers(-8, 8)), min_size=2, max_size=60).filter(
    lambda images: len({label for label, _ in images}) == 2
)


def predictions(images: list[tuple[bool, int]]) -> Predictions:
    names = [str(index) for index in range(len(images))]
    labels, logits = zip(*images, strict=True)
    return Predictions(names, names, None, np.array(labels), np.array(logits, float) / 2)


@given(LOGITS)
def test_the_curve_has_the_precision_and_recall_of_each_threshold(images: list[tuple[bool, int]]) -> None:
    found = predictions(images)
    curve = precision_recall_curve(found)
    assert curve is not None
    scores = probabilities(found.logits)
    assert sorted(set(scores), reverse=True) == curve.thresholds.tolist()
    for threshold, precision, recall in zip(curve.thresholds, curve.precision, curve.recall, strict=True):
        called = scores >= threshold
        assert precision == pytest.approx(found.labels[called].mean())
        assert recall == pytest.approx(called[found.labels].mean())
    area = float(np.sum(np.diff(curve.recall, prepend=0) * curve.precision))
    expected = average_precision(torch.tensor(found.logits), torch.tensor(found.labels))
    assert area == pytest.approx(expected, abs=1e-6)


@given(LOGITS)
def test_operating_points_find_the_wanted_cracks(images: list[tuple[bool, int]]) -> None:
    found = predictions(images)
    points = operating_points(found)
    assert 0.5 in [point.threshold for point in points]
    for wanted in RECALLS:
        assert any(point.recall >= wanted for point in points)
    scores = probabilities(found.logits)
    for point in points:
        called = scores > point.threshold
        assert point.recall == called[found.labels].mean()
        assert point.false_alarms == called[~found.labels].mean()
        assert point.precision == (found.labels[called].mean() if called.any() else 0)


def test_images_of_one_class_have_no_curve() -> None:
    found = predictions([(True, 1), (True, 2)])
    assert precision_recall_curve(found) is None and operating_points(found) == []


def test_a_long_curve_is_thinned_out_and_keeps_its_ends() -> None:
    generator = np.random.default_rng(0)
    labels, logits = generator.random(5000) < 0.5, generator.normal(size=5000)
    names = [str(index) for index in range(5000)]
    curve = precision_recall_curve(Predictions(names, names, None, labels, logits))
    assert curve is not None and len(curve.recall) == MAX_CURVE_POINTS
    assert curve.recall[-1] == 1 and curve.precision[-1] == pytest.approx(labels.mean())
