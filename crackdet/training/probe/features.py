"""What the measures of features share: checks, columns in parts, and an exact basis of few dimensions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crackdet.core.errors import NotFinite, RunFailed

Floats = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float16]  # (N, D); may be memory-mapped
Bools = NDArray[np.bool_]

COLUMNS = 4096  # features that are converted to double precision at a time
MIN_DEVIATION = 0.01  # smallest standard deviation that becomes 1, as a share of the root mean square over features
JITTER = 1e-11  # added to the mean of the kernel's diagonal, since images may be linearly dependent


@dataclass(frozen=True)
class Scaling:
    """A shift and a factor for each feature: (features - mean) * factor."""

    mean: Floats  # (D,)
    factor: Floats  # (D,): 1 / standard deviation; 0 for a constant feature

    @classmethod
    def identity(cls, dimension: int) -> "Scaling":
        return cls(np.zeros(dimension), np.ones(dimension))

    @classmethod
    def standardize(cls, features: Features, weights: Floats) -> "Scaling":
        """Return the scaling that gives each feature mean 0 and variance 1; constant features become 0.

        A feature that hardly varies, as of a unit that is inactive in almost all images, gets a smaller variance: the
        few images in which the unit is active would outweigh everything else.
        """
        shares = weights / weights.sum()
        mean, deviation = np.empty(features.shape[1]), np.empty(features.shape[1])
        for columns in column_parts(features):
            part = features[:, columns].astype(np.float64)
            mean[columns] = shares @ part
            variance = shares @ np.square(part - mean[columns])
            rounding = np.square(len(part) * np.finfo(np.float64).eps * mean[columns])  # of a constant feature
            deviation[columns] = np.sqrt(np.where(variance > rounding, variance, 0.0))
        smallest = MIN_DEVIATION * np.sqrt(np.square(deviation).mean())
        scale = np.maximum(deviation, smallest)
        return cls(mean, np.divide(1.0, scale, out=np.zeros_like(scale), where=deviation > 0))

    def apply(self, features: Features, columns: slice) -> Floats:
        """Return some of the features in double precision, scaled."""
        return (features[:, columns].astype(np.float64) - self.mean[columns]) * self.factor[columns]


@dataclass(frozen=True)
class Basis:
    """Scaled features in an orthogonal basis of at most N dimensions: `coordinates` = scaled features @ directions.

    Inner products, and so distances and every L2 penalty on linear weights, are those of the scaled features.
    """

    coordinates: Floats  # (N, R)
    _features: Features
    _scaling: Scaling

    @classmethod
    def make(cls, features: Features, scaling: Scaling) -> "Basis":
        """Return the features themselves if D <= N, else the Cholesky factor of their kernel (N, N)."""
        number, dimension = features.shape
        if dimension <= number:
            return cls(scaling.apply(features, slice(None)), features, scaling)
        kernel = inner_products(features, scaling)
        kernel[np.diag_indices(number)] += JITTER * (np.trace(kernel) / number or 1.0)
        return cls(np.asarray(np.linalg.cholesky(kernel), np.float64), features, scaling)

    def weights_of_features(self, weights: Floats) -> Floats:
        """Return the weights (D,) of the scaled features that act as these weights (R,) of the coordinates."""
        if self._features.shape[1] <= len(self._features):
            return weights
        from scipy.linalg import solve_triangular

        of_images = solve_triangular(self.coordinates, weights, trans="T", lower=True)
        parts = [of_images @ self._scaling.apply(self._features, part) for part in column_parts(self._features)]
        return np.concatenate(parts)


def inner_products(features: Features, scaling: Scaling) -> Floats:
    """Return the kernel (N, N) of scaled features."""
    kernel = np.zeros((len(features), len(features)))
    for columns in column_parts(features):
        part = scaling.apply(features, columns)
        kernel += part @ part.T
    return kernel


def column_parts(features: Features) -> Iterator[slice]:
    """Yield the columns in parts that fit into memory in double precision."""
    for first in range(0, features.shape[1], COLUMNS):
        yield slice(first, first + COLUMNS)


def check_features(features: Features, labels: Bools) -> None:
    """Check that there is one label for each image, and every feature is a number.

    Raises:
        ValueError: If the arrays do not fit each other.
        NotFinite: If features are NaN or infinite.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"features {features.shape} and labels {labels.shape} do not fit; expected (N, D) and (N,)")
    bad = ~np.logical_and.reduce([np.isfinite(features[:, part]).all(axis=1) for part in column_parts(features)])
    if bad.any():
        raise NotFinite(f"the features of {bad.sum()} of {len(bad)} images are not finite (image {bad.argmax()})")


def check_classes(labels: Bools) -> None:
    """Raise RunFailed if all images are of one class."""
    if labels.all() or not labels.any():
        raise RunFailed("the training images are of one class, and a probe needs both; give images of the other class")
