"""Permutations and samples of whole groups."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crackdet.doctor.permutation import permutation_p_value, permute_labels, sample_groups
from crackdet.metrics.folds import group_codes

IMAGES = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=60)


@given(IMAGES, st.integers(0, 9))
def test_permuted_labels_are_as_many(images: list[tuple[bool, int]], seed: int) -> None:
    labels, codes = np.array([crack for crack, _ in images]), group_codes([str(group) for _, group in images])
    assert permute_labels(labels, codes, np.random.default_rng(seed)).sum() == labels.sum()


def test_groups_of_one_class_stay_groups_of_one_class() -> None:
    codes = np.repeat(np.arange(10), 4)
    labels = codes % 2 == 0
    permuted = permute_labels(labels, codes, np.random.default_rng(0)).reshape(10, 4)
    assert (permuted == permuted[:, :1]).all() and not np.array_equal(permuted.ravel(), labels)


def test_labels_are_permuted_within_groups_of_both_classes() -> None:
    codes, labels = np.repeat(np.arange(10), 4), np.tile([True, True, False, False], 10)
    assert not np.array_equal(permute_labels(labels, codes, np.random.default_rng(0)), labels)


def test_groups_are_the_observations_of_the_permutation_test() -> None:
    labels = np.repeat([True, False], 30)
    values = 3 * labels + np.random.default_rng(0).normal(size=60)

    def difference(of: np.ndarray) -> float:
        return float(abs(values[of].mean() - values[~of].mean()))

    assert permutation_p_value(difference, labels, np.arange(60)) <= 0.01
    assert permutation_p_value(difference, labels, np.repeat([0, 1, 2, 3], 15)) > 0.1


def test_a_sample_has_whole_groups() -> None:
    codes = np.repeat(np.arange(100), 7)
    kept = sample_groups(codes, 100)
    assert len(kept) == 98 and set(np.bincount(codes[kept])) == {0, 7}
