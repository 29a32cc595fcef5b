"""Folds and permutations that keep groups together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crackdet.doctor.folds import group_codes, make_folds, permutation_p_value, permute_labels, sample_groups

IMAGES = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=60)


@given(IMAGES)
def test_no_group_is_on_both_sides_of_a_fold(images: list[tuple[bool, int]]) -> None:
    labels, codes = np.array([crack for crack, _ in images]), group_codes([str(group) for _, group in images])
    held_out: list[int] = []
    for train, held in make_folds(labels, codes):
        assert not set(codes[train]) & set(codes[held])
        assert len(np.unique(labels[train])) == 2
        held_out += held.tolist()
    assert len(held_out) == len(set(held_out))


def test_every_image_is_held_out_once_if_each_class_has_groups_enough() -> None:
    labels = np.arange(60) % 2 == 0
    folds = make_folds(labels, group_codes([str(index // 6) for index in range(60)]))
    assert sorted(np.concatenate([held for _, held in folds]).tolist()) == list(range(60))


def test_there_is_no_fold_if_a_class_is_in_one_group_only() -> None:
    labels = np.array([True, True, False, False])
    assert make_folds(labels, group_codes(["a", "a", "b", "c"])) == []
    assert len(make_folds(labels, group_codes(["a", "d", "b", "c"]))) == 2


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
