"""LogME: the evidence of a Bayesian linear regression from features to labels, a measure of their fitness.

You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", with the fixed-point
iteration of its journal version (You et al. 2022, "Ranking and Tuning Pre-trained Models", JMLR 23, algorithm 3).
"""

import math

import numpy as np

from crackdet.training.probe.features import (
    Bools,
    Features,
    Floats,
    Scaling,
    check_classes,
    check_features,
    inner_products,
)

MAX_ITERATIONS = 200
TOLERANCE = 1e-6  # relative change of the ratio at which the iteration ends
MAX_RATIO = 1e12  # between the prior's precision and that of the noise, relative to the mean variance of the features


def logme(features: Features, labels: Bools) -> float:
    """Return the largest log evidence of an image's labels, averaged over images and over the two classes.

    The model is y = F w + noise, with w ~ N(0, 1 / alpha) and noise ~ N(0, 1 / beta), and y 1 for the images of a class
    and 0 for the others; alpha and beta maximise the evidence. The features are taken as they are, neither centred nor
    standardised; a common factor or a rotation of all features changes nothing.

    Args:
        features: (N, D).
        labels: (N,), True for a crack.

    Raises:
        NotFinite: If features are NaN or infinite.
        RunFailed: If all images are of one class.
    """
    check_features(features, labels)
    check_classes(labels)
    variances, left = _left_singular_vectors(features)
    targets = (labels.astype(np.float64), (~labels).astype(np.float64))
    return float(np.mean([_evidence(variances, np.square(left.T @ y), float(y @ y), len(y)) for y in targets])) / len(
        labels
    )


def _left_singular_vectors(features: Features) -> tuple[Floats, Floats]:
    """Return the squared singular values (R,) of features, and their left singular vectors (N, R)."""
    number, dimension = features.shape
    wide = dimension > number
    doubles = np.empty((0, 0)) if wide else features.astype(np.float64)
    product = inner_products(features, Scaling.identity(dimension)) if wide else doubles.T @ doubles
    values, vectors = np.linalg.eigh(product)
    kept = values > np.finfo(np.float64).eps * len(values) * max(values[-1], 0.0)
    vectors = vectors[:, kept]
    return values[kept], vectors if wide else doubles @ (vectors / np.sqrt(values[kept]))


def _evidence(variances: Floats, explained: Floats, total: float, number: int) -> float:
    """Return the largest log evidence of one regression.

    It depends on alpha and beta through their ratio, if beta is the best one for this ratio.

    Args:
        variances: Squared singular values of the features (R,).
        explained: Squared projections of the labels onto the left singular vectors (R,).
        total: The squared length of the labels.
        number: N, of the images.
    """
    rest = max(total - float(explained.sum()), 0.0)
    scale = float(variances.mean()) if variances.size else 1.0
    ratio, last = scale, 0.0
    for _ in range(MAX_ITERATIONS):
        gamma = float((variances / (variances + ratio)).sum())  # effective number of weights
        length = float((variances * explained / np.square(variances + ratio)).sum())  # squared, of the mean weights
        error = float((explained * np.square(ratio / (variances + ratio))).sum()) + rest
        last, ratio = ratio, gamma * error / max(length * (number - gamma), np.finfo(np.float64).tiny)
        ratio = min(max(ratio, scale / MAX_RATIO), scale * MAX_RATIO)
        if abs(ratio - last) <= TOLERANCE * last:
            break
    noise = (float((explained * ratio / (variances + ratio)).sum()) + rest) / number  # 1 / beta
    return -0.5 * (number * (math.log(2 * math.pi * noise) + 1) + float(np.log1p(variances / ratio).sum()))
