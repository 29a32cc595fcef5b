"""Folds of cross-validation that keep groups together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_FOLDS = 5
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # positions of the training and of the held-out images


def group_codes(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of the group of each image: (N,)."""
    return np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)[1].reshape(-1)


def make_folds(labels: NDArray[np.bool_], codes: NDArray[np.int64], seed: int = 0) -> list[Fold]:
    """Return at most five stratified folds; no group is in both parts of a fold.

    Returns no fold if fewer than two groups have an image of a class: nothing can be learned and tested then.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    number = min(MAX_FOLDS, *(len(np.unique(codes[labels == label])) for label in (False, True)))
    if number < 2:
        return []
    if len(np.unique(codes)) == len(codes):  # StratifiedGroupKFold would need seconds
        folds = StratifiedKFold(number, shuffle=True, random_state=seed).split(labels, labels)
    else:
        folds = StratifiedGroupKFold(number, shuffle=True, random_state=seed).split(labels, labels, codes)
    return [(train, held_out) for train, held_out in folds if len(np.unique(labels[train])) == 2]
