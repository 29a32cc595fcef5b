"""The warnings and errors of splits name the files and the groups that they are about."""

import pytest

from crackdet.config.file_data import FolderData
from crackdet.core.errors import UserError
from crackdet.data.records import ImageRecord
from crackdet.data.splits import leakage_warnings, split


def record(name: str, crack: bool, digest: str, group: str | None = None, split: str | None = None) -> ImageRecord:
    return ImageRecord(name, crack, digest, split, group)


def test_contradictory_labels_name_both_files() -> None:
    splits = {"train": [record("a.jpg", True, "1"), record("b.jpg", False, "1")], "valid": [], "test": []}
    (warning,) = leakage_warnings(splits)
    assert "a.jpg (crack) and b.jpg (no crack)" in warning


def test_a_copy_in_another_split_is_named_with_its_original() -> None:
    splits = {"train": [record("a.jpg", True, "1")], "valid": [record("b.jpg", True, "1")], "test": []}
    (warning,) = leakage_warnings(splits)
    assert "1 of 1 valid images are copies of images in train, such as b.jpg and a.jpg" in warning


def test_copies_that_join_groups_are_named_with_their_groups() -> None:
    members = [record("a.jpg", True, "1", "north"), record("b.jpg", True, "1", "south")]
    (warning,) = leakage_warnings({"train": members, "valid": [], "test": []})
    assert "identical images join 2 groups" in warning
    assert "a.jpg (north) and b.jpg (south)" in warning


def test_a_group_that_cannot_be_split_is_named_with_the_copies_that_join_it() -> None:
    walls = ["north", "south", "east", "west"]
    images = [record(f"{wall}{n}.jpg", n % 2 == 0, f"{wall}{n}", wall) for wall in walls for n in range(4)]
    copies = [record(f"copy{i}.jpg", True, f"{walls[i]}0", walls[i + 1]) for i in range(3)]  # chain all four walls
    with pytest.raises(UserError, match=r"one group has 19 of the 19 images.* join 4 groups.*north0\.jpg \(north\)"):
        split([*images, *copies], FolderData(root="."))
