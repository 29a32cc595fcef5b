"""Accuracy of nearest neighbours, as DINO's evaluation measures features (Caron et al. 2021, appendix F.1)."""

import numpy as np

from crackdet.training.probe.features import Bools, Features, Floats, check_features, column_parts

NEIGHBOURS = 20
TEMPERATURE = 0.07
ROWS = 1024  # images that are compared with all training images at a time


def knn_scores(train: Features, labels: Bools, valid: Features, neighbours: int = NEIGHBOURS) -> Floats:
    """Return for each image the share (N,) of its neighbours' votes that say crack.

    The neighbours have the largest cosine similarity s of features; the vote of each counts exp(s / 0.07). There are at
    most as many as the rarer class has images, so that either class can be the majority. A feature vector of zeros is
    similar to none (s = 0).

    Args:
        train: (M, D), of the training images.
        labels: (M,), theirs: True for a crack.
        valid: (N, D).
        neighbours: Their number.

    Raises:
        NotFinite: If features are NaN or infinite.
    """
    check_features(train, labels)
    check_features(valid, np.zeros(len(valid), bool))
    number = max(1, min(neighbours, int(labels.sum()), int((~labels).sum())))
    lengths = _lengths(train)
    scores = [_vote(_similarity(part, train, lengths), labels, number) for part in _row_parts(valid)]
    return np.concatenate(scores) if scores else np.empty(0)


def knn_accuracy(train: Features, labels: Bools, valid: Features, valid_labels: Bools) -> float:
    """Return the share of validation images whose neighbours vote for their class; half of the votes is no crack."""
    return float(((knn_scores(train, labels, valid) > 0.5) == valid_labels).mean())


def _vote(similarity: Floats, labels: Bools, number: int) -> Floats:
    # a stable order: among equally similar images the first ones are the neighbours
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :number]
    votes = np.exp(np.take_along_axis(similarity, nearest, axis=1) / TEMPERATURE)
    return np.asarray((votes * labels[nearest]).sum(axis=1) / votes.sum(axis=1))


def _similarity(rows: Features, train: Features, lengths: Floats) -> Floats:
    """Return the cosine similarities of some images with all training images."""
    products = np.zeros((len(rows), len(train)))
    for columns in column_parts(rows):
        products += rows[:, columns].astype(np.float64) @ train[:, columns].astype(np.float64).T
    scale = np.outer(_lengths(rows), lengths)
    return np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)


def _lengths(features: Features) -> Floats:
    squares = sum(np.square(features[:, part].astype(np.float64)).sum(axis=1) for part in column_parts(features))
    return np.asarray(np.sqrt(squares))


def _row_parts(features: Features) -> list[Features]:
    return [features[first : first + ROWS] for first in range(0, len(features), ROWS)]
