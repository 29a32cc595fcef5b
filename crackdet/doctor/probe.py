"""The probe: logistic regression on feature vectors, whose probabilities for an image come from other groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crackdet.metrics.folds import Fold, group_codes, make_folds
from crackdet.metrics.numpy_metrics import roc_auc_scores

REGULARISATIONS = (0.001, 0.01, 0.1, 1.0)  # C of scikit-learn: the smaller, the simpler the probe
MAX_ITERATIONS = 300


@dataclass(frozen=True)
class Probe:
    """Out-of-fold probabilities, and how good they are."""

    probabilities: NDArray[np.float64]  # (N,): of the positive class
    regularisation: float  # C
    accuracy: float
    roc_auc: float


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    groups: Sequence[str],
    regularisations: Sequence[float] = REGULARISATIONS,
) -> Probe | None:
    """Return the out-of-fold probabilities with the regularisation of the lowest log loss.

    Args:
        features: (N, D).
        labels: (N,).
        groups: N names; the images of a group are in one fold.

    Returns:
        None if fewer than two groups have an image of a class.
    """
    if not (folds := make_folds(labels, group_codes(groups))):
        return None
    best = min(
        ((_log_loss(p, labels), c, p) for c in regularisations for p in [_out_of_fold(features, labels, folds, c)]),
        key=lambda candidate: candidate[0],
    )
    _, regularisation, probabilities = best
    correct = (probabilities > 0.5) == labels
    return Probe(
        probabilities, regularisation, float(correct.mean()), float(roc_auc_scores(probabilities, labels).mean())
    )


def _out_of_fold(
    features: NDArray[np.float32], labels: NDArray[np.bool_], folds: Sequence[Fold], regularisation: float
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probabilities = np.full(len(labels), labels.mean())
    for train, held_out in folds:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=MAX_ITERATIONS))
        model.fit(features[train], labels[train])
        probabilities[held_out] = model.predict_proba(features[held_out])[:, 1]
    return probabilities


def _log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    of_label = np.where(labels, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(of_label, 1e-12)).mean())
