"""Nearest neighbours, compared with DINO's own vote."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdet.core.errors import NotFinite
from crackdet.training.probe.nearest import knn_accuracy, knn_scores


def images(number: int, seed: int = 0, dimension: int = 12) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(number) % 2 == 0
    features = np.random.default_rng(seed).normal(size=(number, dimension)) + 0.7 * labels[:, None]
    return features.astype(np.float32), labels


def dino(train: torch.Tensor, labels: torch.Tensor, valid: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
    """Return the share of the votes for class 1, by the steps of `knn_classifier` in facebookresearch/dino."""
    train, valid = torch.nn.functional.normalize(train), torch.nn.functional.normalize(valid)
    distances, indices = torch.mm(valid, train.T).topk(k, largest=True, sorted=True)
    neighbours = torch.gather(labels.view(1, -1).expand(len(valid), -1), 1, indices)
    one_hot = torch.zeros(len(valid) * k, 2, dtype=torch.float64).scatter_(1, neighbours.view(-1, 1), 1)
    transform = distances.clone().div_(temperature).exp_()
    votes = torch.sum(torch.mul(one_hot.view(len(valid), -1, 2), transform.view(len(valid), -1, 1)), 1)
    return votes[:, 1] / votes.sum(1)


def test_votes_are_those_of_dino() -> None:
    train, labels = images(200)
    valid, _ = images(50, seed=1)
    expected = dino(torch.tensor(train).double(), torch.tensor(labels).long(), torch.tensor(valid).double(), 20, 0.07)
    np.testing.assert_allclose(knn_scores(train, labels, valid), expected.numpy(), atol=1e-9)


def test_the_accuracy_counts_right_majorities() -> None:
    train = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    valid = np.array([[1, 0.2], [0.2, 1], [1, 0]], np.float32)
    labels = np.array([True, True, False, False])
    assert knn_accuracy(train, labels, valid, np.array([True, False, False])) == pytest.approx(2 / 3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.001, 1000))
def test_a_factor_changes_nothing_and_swapped_labels_swap_the_votes(seed: int, factor: float) -> None:
    train, labels = images(40, seed)
    valid, _ = images(10, seed + 1)
    scores = knn_scores(train, labels, valid)
    np.testing.assert_allclose(knn_scores(train * np.float32(factor), labels, valid), scores, atol=1e-4)
    np.testing.assert_allclose(knn_scores(train, ~labels, valid), 1 - scores, atol=1e-9)


def test_a_rare_class_can_be_the_majority() -> None:
    train, labels = np.ones((50, 2), np.float32), np.arange(50) < 2
    train[:2, 1] = -1
    assert knn_accuracy(train, labels, train, labels) == 1


def test_an_image_without_features_is_no_error() -> None:
    train, labels = images(30)
    train[0] = 0
    assert np.isfinite(knn_scores(train, labels, np.zeros((2, 12), np.float32))).all()


def test_features_that_are_not_finite_are_refused() -> None:
    train, labels = images(30)
    with pytest.raises(NotFinite):
        knn_scores(train, labels, np.full((1, 12), np.nan, np.float32))


def test_there_may_be_no_image_to_score() -> None:
    train, labels = images(30)
    assert knn_scores(train, labels, train[:0]).shape == (0,)
