"""The images and groups of each split, and whether they are enough to compare networks."""

import io

import pytest
from rich.console import Console

from crackdet.data.counts import count_table, few_observations_warning
from crackdet.data.records import ImageRecord


def records(cracks: int, others: int, group: str | None = None, split: str | None = None) -> list[ImageRecord]:
    labels = [True] * cracks + [False] * others
    return [ImageRecord(f"{group}-{i}", crack, f"{group}-{i}", split, group) for i, crack in enumerate(labels)]


def grouped(number: int, cracks: int = 2, others: int = 2, split: str | None = None) -> list[ImageRecord]:
    return [record for group in range(number) for record in records(cracks, others, f"wall{group}", split)]


def warning(valid: list[ImageRecord]) -> str | None:
    return few_observations_warning({"train": grouped(9) if valid[0].group else records(9, 9), "valid": valid})


def test_six_groups_or_images_of_each_class_are_enough() -> None:
    assert warning(grouped(6)) is None
    assert warning(records(6, 6)) is None


FEW = "in the valid split; at least 6 are needed to compare networks;"


@pytest.mark.parametrize(
    ("valid", "expected"),
    [
        (grouped(4), f"data: 4 groups {FEW} raise data.valid_fraction, or add"),
        (grouped(1, split="valid"), f"data: 1 group {FEW} add groups to the valid"),
        (grouped(9, cracks=0) + records(3, 0, "cracks"), "data: 1 group with a crack in the valid split; "),
        (records(2, 30), f"data: 2 images with a crack {FEW} raise"),
        (records(2, 1), "data: 2 images with a crack and 1 image without a crack in the valid split; "),
    ],
)  # fmt: skip
def test_too_few_observations_are_told(valid: list[ImageRecord], expected: str) -> None:
    assert (warning(valid) or "").startswith(expected)


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [
        (grouped(3), grouped(5)[12:], f"data: 2 groups {FEW} add groups: all data has 5 groups"),
        (records(3, 90), [*records(2, 20, "")], f"data: 2 images with a crack {FEW} add images: all data has 5 images"),
    ],
)
def test_a_larger_share_is_not_advised_if_all_data_has_too_few(
    train: list[ImageRecord], valid: list[ImageRecord], expected: str
) -> None:
    assert (few_observations_warning({"train": train, "valid": valid}) or "").startswith(expected)


def test_a_class_that_no_split_has_is_not_missed() -> None:
    assert few_observations_warning({"train": records(0, 20), "valid": records(0, 9)}) is None
    assert "3 images without a crack in" in (few_observations_warning({"train": [], "valid": records(0, 3)}) or "")


def test_the_table_counts_groups_of_each_split_and_class() -> None:
    shown = io.StringIO()
    valid = grouped(2) + records(1, 0, "beam") + records(1, 1)
    Console(file=shown, width=120).print(count_table({"train": grouped(3), "valid": valid}))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.getvalue().splitlines() if "│" in line]
    assert rows == [["train", "6", "6", "3", "3", "3"], ["valid", "6", "5", "5", "4", "3"]]
