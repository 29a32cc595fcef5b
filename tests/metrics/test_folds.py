"""Folds that keep groups together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crackdet.metrics.folds import group_codes, make_folds

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
