"""LogME, compared with the evidence as it is defined, maximised by scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from crackdet.core.errors import NotFinite, RunFailed
from crackdet.training.probe.logme import logme


def images(number: int, dimension: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.random(number) < 0.4
    labels[:2] = True, False
    features = np.maximum(generator.normal(size=(number, dimension)) + 0.8 * labels[:, None], 0)
    return features.astype(np.float32), labels


def evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over the classes of the largest log density of y ~ N(0, 1 / beta + F F^T / alpha), per image."""
    kernel, number = features.astype(float) @ features.astype(float).T, len(labels)

    def loss(logs: np.ndarray, y: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(number) / beta + kernel / alpha
        return -float(multivariate_normal.logpdf(y, np.zeros(number), covariance))

    found = [
        min(minimize(loss, start, (y,), "Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8}).fun for start in STARTS)
        for y in (labels.astype(float), (~labels).astype(float))
    ]
    return -float(np.mean(found)) / number


STARTS = ((0.0, 0.0), (4.0, 2.0))


@pytest.mark.parametrize(("number", "dimension"), [(30, 1), (40, 6), (20, 20), (25, 60)])
def test_it_is_the_largest_evidence(number: int, dimension: int) -> None:
    features, labels = images(number, dimension)
    assert logme(features, labels) == pytest.approx(evidence(features, labels), abs=1e-4)


def test_it_prefers_features_that_tell_the_classes_apart() -> None:
    features, labels = images(100, 10)
    noise = np.random.default_rng(9).normal(size=(100, 10)).astype(np.float32)
    assert logme(features, labels) > logme(noise, labels)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 50), st.floats(0.001, 1000))
def test_scale_rotation_and_swapped_labels_change_nothing(seed: int, dimension: int, scale: float) -> None:
    features, labels = images(30, dimension, seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, dimension)))[0]
    rotated = (features @ rotation).astype(np.float32)
    expected = pytest.approx(logme(features, labels), abs=1e-3)
    assert logme(features * np.float32(scale), labels) == expected
    assert logme(rotated, labels) == expected and logme(features, ~labels) == expected


def test_a_constant_zero_feature_changes_nothing() -> None:
    features, labels = images(30, 5)
    more = np.hstack([features, np.zeros((30, 40), np.float32)])
    assert logme(more, labels) == pytest.approx(logme(features, labels), abs=1e-6)


def test_it_is_finite_for_features_that_are_zero_or_are_the_labels() -> None:
    _, labels = images(30, 5)
    perfect = np.stack([labels, ~labels], axis=1).astype(np.float32)
    worst = logme(np.zeros((30, 3), np.float32), labels)
    assert np.isfinite(worst) and worst < logme(perfect, labels) < np.inf


def test_features_that_are_not_finite_and_images_of_one_class_are_refused() -> None:
    features, labels = images(30, 5)
    with pytest.raises(RunFailed, match="one class"):
        logme(features, np.zeros(30, bool))
    features[1] = np.inf
    with pytest.raises(NotFinite):
        logme(features, labels)
