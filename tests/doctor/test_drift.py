"""Drift between splits."""

import numpy as np
from scipy.stats import ks_2samp

from crackdet.doctor.columns import Column, Kind
from crackdet.doctor.confounds import Strength
from crackdet.doctor.drift import find_drift

NUMBER = 240
SPLITS = ["train"] * 160 + ["valid"] * 80
ALONE = [str(index) for index in range(NUMBER)]
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(NUMBER, 30)).astype(np.float32)
WIDTH = Column("width", Kind.ORIGIN, RNG.normal(300, 20, NUMBER))
IS_VALID = np.array(SPLITS) == "valid"


def test_splits_of_the_same_kind_do_not_differ() -> None:
    (drift,) = find_drift([WIDTH], FEATURES, SPLITS, ALONE)
    assert drift.strength is Strength.NONE and "cannot be told" in drift.verdict
    assert not any(difference.is_clear for difference in drift.differences)


def test_the_statistic_of_numbers_is_that_of_kolmogorov_and_smirnov() -> None:
    rounded = Column("width", Kind.ORIGIN, WIDTH.values.round(-1))  # with ties
    (drift,) = find_drift([rounded], FEATURES, SPLITS, ALONE)
    expected = ks_2samp(rounded.values[IS_VALID], rounded.values[~IS_VALID]).statistic
    assert np.isclose(drift.differences[0].statistic, expected)


def test_the_statistic_of_categories_is_the_total_variation() -> None:
    cameras = np.where(IS_VALID, "A", "B")
    cameras[:40] = "A"  # a quarter of the training images
    (drift,) = find_drift([Column("camera", Kind.ORIGIN, cameras)], FEATURES, SPLITS, ALONE)
    (difference,) = drift.differences
    assert np.isclose(difference.statistic, 0.75) and difference.is_clear
    assert (difference.train, difference.other) == ("B (75 %)", "A (100 %)")


def test_the_column_that_differs_is_named() -> None:
    brightness = Column("brightness", Kind.CONTENT, RNG.normal(0.5, 0.1, NUMBER) - 0.2 * IS_VALID)
    (drift,) = find_drift([WIDTH, brightness], FEATURES, SPLITS, ALONE)
    assert drift.strength is Strength.STRONG and "most of all in brightness" in drift.verdict
    assert [difference.column for difference in drift.differences if difference.is_clear] == ["brightness"]


def test_a_difference_of_the_features_is_found() -> None:
    (drift,) = find_drift([WIDTH], FEATURES + 1.0 * IS_VALID[:, None].astype(np.float32), SPLITS, ALONE)
    assert drift.features is not None and drift.features.auc > 0.9
    assert drift.strength is Strength.STRONG and "differ" in drift.verdict


def test_walls_that_differ_from_each_other_are_no_drift() -> None:
    walls = np.arange(NUMBER) // 20
    of_wall = Column("brightness", Kind.CONTENT, np.random.default_rng(3).random(12)[walls])
    (drift,) = find_drift([of_wall], FEATURES, SPLITS, [str(wall) for wall in walls])
    assert drift.differences[0].statistic > 0.2 and not drift.differences[0].is_clear


def test_each_other_split_is_compared_and_one_group_cannot_be() -> None:
    splits = ["train"] * 160 + ["valid"] * 40 + ["test"] * 40
    drifts = find_drift([WIDTH], FEATURES, splits, [*ALONE[:200], *["wall"] * 40])
    assert [drift.split for drift in drifts] == ["valid", "test"]
    assert drifts[1].strength is Strength.UNKNOWN and "cannot be tested" in drifts[1].verdict
