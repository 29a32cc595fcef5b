"""Drift: whether the validation or test images differ from the training images, and in what."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crackdet.doctor.columns import Column
from crackdet.doctor.confounds import MAX_P_VALUE, Strength, grade
from crackdet.doctor.permutation import PERMUTATIONS, permutation_p_value, permute_labels, sample_groups
from crackdet.doctor.separation import Separation, separate
from crackdet.metrics.folds import group_codes, make_folds
from crackdet.metrics.numpy_metrics import roc_auc_scores

NUM_COMPONENTS = 20  # of the features, by principal component analysis
MAX_COMPARED = 4000  # images of which the features are compared
MIN_STATISTIC = 0.1  # of a difference that is worth a remark
MAX_NAMED = 3

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """How one column differs between two splits."""

    column: str
    statistic: float  # 0 to 1: of Kolmogorov and Smirnov for numbers, the total variation for categories
    p_value: float  # permutation of whole groups, corrected for the number of columns (Westfall and Young 1993)
    train: str  # the median, or the most frequent category, of the training images
    other: str  # the same of the other images

    @property
    def is_clear(self) -> bool:
        return self.p_value <= MAX_P_VALUE and self.statistic >= MIN_STATISTIC


@dataclass(frozen=True)
class Separability:
    """How well a linear probe tells two splits apart by the features of their images."""

    auc: float  # mean of the held-out folds
    p_value: float


@dataclass(frozen=True)
class Drift:
    """How the images of a split differ from the training images."""

    split: str
    verdict: str
    columns: Separation | None  # by a tree over the columns; None: too few groups to tell
    features: Separability | None  # likewise
    differences: tuple[Difference, ...]  # largest first

    @property
    def strength(self) -> Strength:
        """The stronger of the two."""
        if self.columns is None or self.features is None:
            return Strength.UNKNOWN
        grades = {grade(self.columns), grade(self.features)}
        return next(strength for strength in (Strength.STRONG, Strength.WEAK, Strength.NONE) if strength in grades)


def find_drift(
    columns: Sequence[Column],
    features: NDArray[np.float32],
    splits: Sequence[str],
    groups: Sequence[str],
) -> list[Drift]:
    """Return how each other split differs from the training split.

    Args:
        columns: Each with N values.
        features: (N, D), see `features.measure`.
        splits: N names: train, valid or test.
        groups: N names.
    """
    names, all_groups = np.asarray(splits, np.str_), np.asarray(groups, np.str_)
    found = []
    for split in dict.fromkeys(names.tolist()):
        if split == "train":
            continue
        kept = np.flatnonzero((names == "train") | (names == split))
        of_kept = [Column(column.name, column.kind, column.values[kept]) for column in columns]
        found.append(_compare(split, of_kept, features[kept], names[kept] == split, all_groups[kept].tolist()))
    return found


def _compare(
    split: str, columns: Sequence[Column], features: NDArray[np.float32], is_other: Bools, groups: Sequence[str]
) -> Drift:
    differences = tuple(_differences(columns, is_other, groups))
    by_columns = separate(columns, is_other, groups)
    by_features = _separability(features, is_other, groups)
    return Drift(split, _verdict(split, by_columns, by_features, differences), by_columns, by_features, differences)


def _differences(columns: Sequence[Column], is_other: Bools, groups: Sequence[str]) -> list[Difference]:
    """Return the differences of all columns that vary, largest first."""
    varying = [column for column in columns if not column.is_constant]
    if not varying or is_other.all() or not is_other.any():
        return []
    generator, codes = np.random.default_rng(0), group_codes(groups)
    comparisons = [_comparison(column) for column in varying]
    observed = np.array([compare(is_other) for compare in comparisons])
    largest = np.empty(PERMUTATIONS)
    for number in range(PERMUTATIONS):
        permuted = permute_labels(is_other, codes, generator)
        largest[number] = max(compare(permuted) for compare in comparisons)
    p_values = (1 + (largest >= observed[:, None]).sum(axis=1)) / (1 + PERMUTATIONS)
    found = [
        Difference(column.name, float(statistic), float(p), _typical(column, ~is_other), _typical(column, is_other))
        for column, statistic, p in zip(varying, observed, p_values, strict=True)
    ]
    return sorted(found, key=lambda difference: -difference.statistic)


def _comparison(column: Column) -> Callable[[Bools], float]:
    return _kolmogorov_smirnov(column.values.astype(float)) if column.is_numeric else _total_variation(column.values)


def _kolmogorov_smirnov(values: NDArray[np.float64]) -> Callable[[Bools], float]:
    """Return the statistic as a function of the images of the other split; values are sorted once for all calls."""
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known])]
    last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))  # of equal values

    def compare(is_other: Bools) -> float:
        others = np.cumsum(is_other[order])[last]
        rest = last + 1 - others
        return float(np.abs(others / max(others[-1], 1) - rest / max(rest[-1], 1)).max())

    return compare


def _total_variation(values: NDArray[np.generic]) -> Callable[[Bools], float]:
    """Return the statistic as a function of the images of the other split."""
    categories = np.unique(values, return_inverse=True)[1]
    totals = np.bincount(categories)

    def compare(is_other: Bools) -> float:
        others = np.bincount(categories, is_other, len(totals))
        rest = totals - others
        return float(np.abs(others / others.sum() - rest / rest.sum()).sum() / 2)

    return compare


def _typical(column: Column, images: Bools) -> str:
    values = column.values[images]
    if not column.is_numeric:
        value, number = Counter(values.tolist()).most_common(1)[0]
        return f"{value} ({100 * number / len(values):.0f} %)"
    known = values[~np.isnan(values.astype(float))]
    return f"{np.median(known):.4g}" if len(known) else "unknown"


def _separability(features: NDArray[np.float32], is_other: Bools, groups: Sequence[str]) -> Separability | None:
    """Return how well logistic regression on the first principal components tells the splits apart."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept = sample_groups(group_codes(groups), MAX_COMPARED)
    features, is_other = features[kept], is_other[kept]
    codes = group_codes([groups[index] for index in kept])
    if not (folds := make_folds(is_other, codes)):
        return None
    number = min(NUM_COMPONENTS, features.shape[1], len(features) // 2)
    reduced = make_pipeline(StandardScaler(), PCA(number, whiten=True, random_state=0)).fit_transform(features)

    def held_out_auc(labels: Bools) -> float:
        aucs = []
        for train, held_out in folds:
            if len(np.unique(labels[train])) == len(np.unique(labels[held_out])) == 2:
                scores = LogisticRegression().fit(reduced[train], labels[train]).decision_function(reduced[held_out])
                aucs.append(float(roc_auc_scores(scores, labels[held_out]).mean()))
        return sum(aucs) / len(aucs) if aucs else 0.5

    return Separability(held_out_auc(is_other), permutation_p_value(held_out_auc, is_other, codes))


def _verdict(
    split: str, columns: Separation | None, features: Separability | None, differences: Sequence[Difference]
) -> str:
    clear = [d for d in differences if d.is_clear]
    named = "; ".join(f"{d.column} ({d.train} in train, {d.other} in {split})" for d in clear[:MAX_NAMED])
    if columns is None or features is None:
        text = f"Fewer than two groups are in train or {split}: whether their images differ cannot be tested"
        return f"{text}, but they differ in {named}." if named else f"{text}."
    grades = grade(columns), grade(features)
    numbers = f"ROC-AUC {columns.auc:.2f} by the columns, {features.auc:.2f} by the features"
    if grades == (Strength.NONE, Strength.NONE) and not clear:
        return f"The {split} images cannot be told from the training images ({numbers})."
    return (
        f"The {split} images differ from the training images ({numbers})"
        f"{f', most of all in {named}' if named else ''}. Scores on them say how a network does on other photographs "
        "than it was trained on."
    )
