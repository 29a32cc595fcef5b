"""Confounds: what gives the class away."""

from collections.abc import Sequence

import numpy as np
import pytest

from crackdet.data.records import ImageRecord
from crackdet.doctor.columns import Column, Kind, file_columns, folder_of_origin
from crackdet.doctor.confounds import Confound, Strength, find_confounds
from crackdet.doctor.headers import Header

NUMBER = 200
CRACKS = np.arange(NUMBER) % 2 == 0
ALONE = [str(index) for index in range(NUMBER)]
RNG = np.random.default_rng(0)
NOISE = [
    Column("width", Kind.ORIGIN, RNG.normal(300, 20, NUMBER).round()),
    Column("camera", Kind.ORIGIN, RNG.choice(["A", "B", "C"], NUMBER)),
]


def origin(columns: Sequence[Column], cracks: np.ndarray = CRACKS, groups: Sequence[str] = ALONE) -> Confound:
    (found,) = [confound for confound in find_confounds(columns, cracks, groups) if confound.kind is Kind.ORIGIN]
    return found


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        (
            Column("JPEG quality", Kind.ORIGIN, np.where(CRACKS, 80.0, 75.0)),
            "JPEG quality above 77.5: 100 % crack (100 images)",
        ),
        (Column("software", Kind.ORIGIN, np.where(CRACKS, "X", "Y")), "software is X: 100 % crack (100 images)"),
        (
            Column("hour of the day", Kind.ORIGIN, np.where(CRACKS, 12.0, RNG.choice([8.0, 17.0], NUMBER))),
            "hour of the day above 10 and hour of the day at most 14.5: 100 % crack (100 images)",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Column) else "",
)
def test_a_column_that_tells_the_class_is_named_with_its_rule(column: Column, rule: str) -> None:
    found = origin([*NOISE, column])
    assert found.strength is Strength.STRONG and f"most of all {column.name}" in found.verdict
    assert found.separation is not None and found.separation.columns[0].auc == 1
    assert rule in found.rules


def test_columns_that_say_nothing_are_not_accused() -> None:
    found = origin(NOISE)
    assert found.strength is Strength.NONE and "do not give the class away" in found.verdict


def test_chance_is_rarely_called_a_confound() -> None:
    labels = [np.random.default_rng(seed).permutation(CRACKS[:60]) for seed in range(6)]
    columns = [Column(column.name, column.kind, column.values[:60]) for column in NOISE]
    assert sum(origin(columns, cracks, ALONE[:60]).strength is not Strength.NONE for cracks in labels) <= 1


def test_an_incomplete_confound_is_weak() -> None:
    mostly = np.where(np.random.default_rng(1).random(NUMBER) < 0.75, CRACKS, ~CRACKS)
    assert origin([*NOISE, Column("format", Kind.ORIGIN, np.where(mostly, "JPEG", "PNG"))]).strength is Strength.WEAK


def test_a_confound_of_few_groups_is_not_told_from_chance() -> None:
    places = np.arange(NUMBER) // 50
    column = Column("width", Kind.ORIGIN, np.array([300.0, 200.0, 301.0, 201.0])[places])
    found = origin([column], places % 2 == 0, [str(place) for place in places])
    assert found.strength is Strength.NONE and "4 groups are too few" in found.verdict


def test_one_group_of_a_class_cannot_be_tested() -> None:
    found = origin(NOISE, groups=["a" if crack else "b" for crack in CRACKS])
    assert found.strength is Strength.UNKNOWN and found.separation is None and found.rules == []


def test_columns_of_the_content_are_judged_apart() -> None:
    brightness = Column("brightness", Kind.CONTENT, np.where(CRACKS, 0.3, 0.6))
    by_kind = {confound.kind: confound for confound in find_confounds([*NOISE, brightness], CRACKS, ALONE)}
    assert by_kind[Kind.ORIGIN].strength is Strength.NONE
    assert by_kind[Kind.CONTENT].strength is Strength.STRONG and "need not be a fault" in by_kind[Kind.CONTENT].verdict


def test_columns_of_one_value_say_that_all_images_are_alike() -> None:
    found = origin(
        [Column("width", Kind.ORIGIN, np.full(NUMBER, 227.0)), Column("hour", Kind.ORIGIN, np.full(NUMBER, np.nan))]
    )
    assert found.strength is Strength.NONE and "are alike" in found.verdict


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("train/Positive/1.jpg", ""),
        ("Positive/bridge/1.jpg", "bridge"),
        ("site A/val/images/NON-crack/b/1.jpg", "site A/b"),
    ],
)
def test_the_folder_of_origin_has_no_class_or_split_in_it(name: str, folder: str) -> None:
    assert folder_of_origin(name, {"positive", "noncrack"}) == folder


def test_a_tile_has_the_columns_of_its_photograph() -> None:
    records = [ImageRecord(f"a.jpg#{left},0,32x32", True, "digest") for left in (0, 32)]
    header = Header(64, 32, "JPEG", 512, quality=90)
    columns = {column.name: column.values.tolist() for column in file_columns(records, {"a.jpg": header})}
    assert columns["width"] == [64, 64] and columns["JPEG quality"] == [90, 90]
    assert columns["bits per pixel"] == [2, 2] and columns["camera"] == ["none", "none"]
