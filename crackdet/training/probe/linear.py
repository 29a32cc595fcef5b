"""A linear probe: logistic regression on frozen features, its penalty chosen inside the training split."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdet.metrics.folds import group_codes, make_folds
from crackdet.training.probe.features import Basis, Bools, Features, Floats, Scaling, check_classes, check_features

# C of scikit-learn, the inverse of the penalty: from 1e-6 to 1e4 in half decades
GRID = tuple(float(f"{10.0 ** (exponent / 2):.3g}") for exponent in range(-12, 9))
DEFAULT_C = 1.0  # scikit-learn's, if the images allow no folds
MAX_RISE = 1.2  # of the loss above the lowest one, after which larger values of C are not tried
MAX_ITERATIONS = 1000  # of the solver
TOLERANCE, FOLD_TOLERANCE = 1e-5, 1e-4  # largest gradient of the mean loss at a solution, of all images and of folds


@dataclass(frozen=True)
class LinearProbe:
    """A logistic regression on features as they are: the standardisation is part of its weights."""

    weight: NDArray[np.float32]  # (D,)
    bias: float
    regularisation: float  # C
    notes: Sequence[str] = ()  # sentences on what may be better with other images or settings

    def logits(self, features: Features) -> Floats:
        """Return the logits (N,) of features (N, D): above 0 is a crack."""
        return np.asarray(features @ self.weight, np.float64) + self.bias


def fit_linear_probe(
    features: Features,
    labels: Bools,
    groups: Sequence[str],
    weights: NDArray[np.floating[Any]] | None = None,
    seed: int = 0,
    regularisations: Sequence[float] = GRID,
) -> LinearProbe:
    """Fit scikit-learn's logistic regression (L2 penalty, solver lbfgs) to standardised features.

    C has the lowest log loss in at most five stratified folds that keep groups together; then all images are fitted.
    Constant features get weight 0. If D > N, an orthogonal basis of the images replaces the features; the penalty does
    not depend on the basis, so the result is the same. The features are standardised once, not in each fold.

    Args:
        features: (N, D), of the training images.
        labels: (N,), True for a crack.
        groups: N names; images of one group are in one fold. An image with an empty name is a group of its own.
        weights: (N,), of the images in the loss; None: 1.
        seed: Of the folds.
        regularisations: The values of C to choose from.

    Raises:
        NotFinite: If features are NaN or infinite.
        RunFailed: If all images are of one class.
    """
    check_features(features, labels)
    check_classes(labels)
    counts: Floats = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    scaling = Scaling.standardize(features, counts)
    basis = Basis.make(features, scaling)
    c, notes = _choose_c(basis.coordinates, labels, groups, counts, seed, sorted(regularisations))
    regression = _Regression(TOLERANCE)
    regression.fit(basis.coordinates, labels, counts, c)
    if not regression.has_converged:
        notes.append(
            f"The logistic regression did not converge in {MAX_ITERATIONS} iterations (C={c:g}); its accuracy may be "
            "slightly different with more."
        )
    weight = (basis.weights_of_features(regression.weight) * scaling.factor).astype(np.float32)
    bias = regression.bias - float(weight.astype(np.float64) @ scaling.mean)
    return LinearProbe(weight, bias, c, notes)


def _choose_c(
    coordinates: Floats, labels: Bools, groups: Sequence[str], weights: Floats, seed: int, grid: Sequence[float]
) -> tuple[float, list[str]]:
    """Return the C with the lowest log loss of held-out images, and what is to be said of it."""
    folds = make_folds(labels, group_codes(_distinct(groups)), seed)
    if not folds:
        return DEFAULT_C, [
            f"The penalty is scikit-learn's default (C={DEFAULT_C:g}), because fewer than two groups have training "
            "images of a class."
        ]
    held_out = np.concatenate([held for _, held in folds])
    features = coordinates.astype(np.float32)  # twice as fast, and exact enough for a comparison
    splits = [(features[train], labels[train], weights[train], features[held]) for train, held in folds]
    paths = [_Regression(FOLD_TOLERANCE) for _ in folds]
    losses: list[float] = []
    for c in grid:
        logits = []
        for path, (train, train_labels, train_weights, held) in zip(paths, splits, strict=True):
            path.fit(train, train_labels, train_weights, c)
            logits.append(held @ path.weight + path.bias)
        errors = np.logaddexp(0, np.where(labels[held_out], -1, 1) * np.concatenate(logits))
        losses.append(float(np.average(errors, weights=weights[held_out])))
        if losses[-1] > MAX_RISE * min(losses):
            break
    best = int(np.argmin(losses))
    notes = []
    if len(grid) > 1 and best in (0, len(grid) - 1):
        end, meaning = ("smallest", "predict little") if best == 0 else ("largest", "separate the classes almost fully")
        notes.append(f"The chosen C={grid[best]:g} is the {end} that was tried: the features {meaning}.")
    return grid[best], notes


class _Regression:
    """A path of logistic regressions, each of which starts from the last solution."""

    def __init__(self, tolerance: float) -> None:
        from sklearn.linear_model import LogisticRegression  # takes a second

        self._model = LogisticRegression(warm_start=True, max_iter=MAX_ITERATIONS, tol=tolerance)

    def fit(self, features: Floats | NDArray[np.float32], labels: Bools, weights: Floats, c: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ConvergenceWarning: `has_converged` tells
            self._model.set_params(C=c).fit(features, labels, sample_weight=weights)

    @property
    def weight(self) -> Floats:
        return np.asarray(self._model.coef_[0], np.float64)

    @property
    def bias(self) -> float:
        return float(self._model.intercept_[0])

    @property
    def has_converged(self) -> bool:
        return bool(self._model.n_iter_[0] < MAX_ITERATIONS)


def _distinct(groups: Sequence[str]) -> list[str]:
    """Return the groups, with a name of its own for each image that has none."""
    return [f"group {group}" if group else f"image {index}" for index, group in enumerate(groups)]
