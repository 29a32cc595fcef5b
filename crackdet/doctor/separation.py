"""How well a shallow decision tree over columns tells two sets of images apart, and by what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crackdet.doctor.columns import Column, Feature, to_features
from crackdet.doctor.permutation import permutation_p_value, sample_groups
from crackdet.metrics.folds import Fold, group_codes, make_folds
from crackdet.metrics.numpy_metrics import roc_auc_scores

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

DEPTH, COLUMN_DEPTH = 3, 2  # of the tree over all columns, and of the trees over one of them
MIN_LEAF = 5  # images
MIN_LEAF_SHARE = 0.005  # of the images
MAX_RULES = 3
MAX_PERMUTED = 4000  # images; the p-value of more images is computed on a sample of their groups

Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class ColumnAuc:
    """How well one column alone tells the two sets apart."""

    column: str
    auc: float


@dataclass(frozen=True)
class Rule:
    """A leaf of the tree over all images."""

    conditions: tuple[str, ...]
    images: int
    share: float  # of the positive set among these images

    def describe(self, positive: str, negative: str) -> str:
        """Return for example `JPEG quality above 82.5: 97 % crack (1,940 images)`."""
        share, name = (self.share, positive) if self.share >= 0.5 else (1 - self.share, negative)
        return f"{' and '.join(self.conditions)}: {100 * share:.0f} % {name} ({self.images:,} images)"


@dataclass(frozen=True)
class Separation:
    """How well columns tell two sets of images apart."""

    auc: float  # mean of the held-out folds
    fold_aucs: tuple[float, ...]
    p_value: float  # of the permutation test, whole groups permuted
    columns: tuple[ColumnAuc, ...]  # all that vary, best first
    rules: tuple[Rule, ...]  # the most telling leaves first
    num_images: int
    num_groups: int


def separate(columns: Sequence[Column], positive: Bools, groups: Sequence[str]) -> Separation | None:
    """Return how well columns tell the positive images from the others, held out by group.

    Args:
        columns: Each with N values.
        positive: (N,).
        groups: N names; the images of a group are in one fold.

    Returns:
        None if fewer than two groups have an image of either set.
    """
    codes = group_codes(groups)
    if not (folds := make_folds(positive, codes)):
        return None
    features = to_features(columns)
    num_groups = int(codes.max()) + 1
    if not features:
        return Separation(0.5, (0.5,) * len(folds), 1.0, (), (), len(positive), num_groups)
    aucs = _fold_aucs(features, positive, folds, DEPTH)
    varying = dict.fromkeys(feature.column for feature in features)
    alone = [
        ColumnAuc(name, _mean(_fold_aucs([f for f in features if f.column == name], positive, folds, COLUMN_DEPTH)))
        for name in varying
    ]
    return Separation(
        _mean(aucs),
        aucs,
        _p_value(features, positive, codes),
        tuple(sorted(alone, key=lambda column: -round(column.auc, 3))),  # of equal ones, the first column
        tuple(_rules(features, positive)),
        len(positive),
        num_groups,
    )


def _fold_aucs(features: Sequence[Feature], positive: Bools, folds: Sequence[Fold], depth: int) -> tuple[float, ...]:
    """Return the ROC-AUC of each held-out fold that has images of both sets."""
    matrix = _matrix(features)
    aucs = []
    for train, held_out in folds:
        labels = positive[held_out]
        if 0 < labels.sum() < len(labels):
            scores = _fit(matrix[train], positive[train], depth).predict_proba(matrix[held_out])[:, -1]
            aucs.append(float(roc_auc_scores(scores, labels).mean()))
    return tuple(aucs)


def _fit(matrix: NDArray[np.float32], positive: Bools, depth: int) -> "DecisionTreeClassifier":
    from sklearn.tree import DecisionTreeClassifier

    min_leaf = max(MIN_LEAF, round(MIN_LEAF_SHARE * len(positive)))
    return DecisionTreeClassifier(max_depth=depth, min_samples_leaf=min_leaf, random_state=0).fit(matrix, positive)


def _p_value(features: Sequence[Feature], positive: Bools, codes: Codes) -> float:
    kept = sample_groups(codes, MAX_PERMUTED)
    codes, positive = np.unique(codes[kept], return_inverse=True)[1], positive[kept]
    if not (folds := make_folds(positive, codes)):
        return 1.0
    sample = [Feature(feature.column, feature.category, feature.values[kept]) for feature in features]
    return permutation_p_value(lambda labels: _mean(_fold_aucs(sample, labels, folds, DEPTH)), positive, codes)


def _rules(features: Sequence[Feature], positive: Bools) -> list[Rule]:
    """Return the leaves of a tree over all images whose share of the positive set differs most from the mean."""
    tree = _fit(_matrix(features), positive, DEPTH)
    base = positive.mean()
    rules = sorted(_leaves(tree, features), key=lambda rule: -rule.images * abs(rule.share - base))
    return [rule for rule in rules if rule.conditions][:MAX_RULES]


def _leaves(tree: "DecisionTreeClassifier", features: Sequence[Feature]) -> Iterator[Rule]:
    nodes = tree.tree_
    pending: list[tuple[int, dict[tuple[int, bool], str]]] = [(0, {})]
    while pending:
        node, conditions = pending.pop()
        number = nodes.feature[node]
        if number < 0:
            values = nodes.value[node, 0]
            in_words = tuple(text for _, text in sorted(conditions.items()))  # by column, the lower bound first
            yield Rule(in_words, int(nodes.n_node_samples[node]), float(values[-1] / values.sum()))
            continue
        for child, is_below in ((nodes.children_left[node], True), (nodes.children_right[node], False)):
            # a later condition of the same kind is narrower
            text = features[number].condition(float(nodes.threshold[node]), is_below)
            pending.append((child, {**conditions, (number, is_below): text}))


def _matrix(features: Sequence[Feature]) -> NDArray[np.float32]:
    return np.stack([feature.values for feature in features], axis=1, dtype=np.float32)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.5
