"""The warnings and errors of splits name the files and the groups that they are about."""

import pytest

from crackdet.config.file_data import FolderData
from crackdet.core.errors import UserError
from crackdet.data.records import ImageRecord
from crackdet.data.splits import SplitCache, leakage_warnings, split


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


WALLS = ["north", "south", "east", "west"]


def chained_walls() -> list[ImageRecord]:
    """Four walls of four images without a crack and eight with one, and copies that join each wall to the next."""
    images = [record(f"{wall}{n}.jpg", n % 3 > 0, f"{wall}{n}", wall) for wall in WALLS for n in range(12)]
    return [*images, *(record(f"copy{i}.jpg", True, f"{WALLS[i]}1", WALLS[i + 1]) for i in range(3))]


def test_a_group_that_cannot_be_split_is_named_with_the_copies_that_join_it() -> None:
    with pytest.raises(UserError) as raised:
        split(chained_walls(), FolderData(root="."))
    message = str(raised.value)
    assert "one group has 16 of the 16 images without a crack" in message
    assert "identical copies of 3 images join 4 groups of data.groups" in message
    assert "north1.jpg (north) and copy0.jpg (south)" in message
    assert "valid_fraction" not in message  # another one cannot help


def test_a_large_group_of_one_class_is_named_if_the_other_class_is_larger() -> None:
    cracks = [member for member in chained_walls() if member.crack]
    clean = [record(f"clean{n}.jpg", False, f"clean{n}", f"clean{n // 5}") for n in range(200)]
    with pytest.raises(UserError, match=r"valid split has no image with a crack; one group has 35 of the 35 images"):
        split([*cracks, *clean], FolderData(root="."))


def test_a_large_group_that_the_data_gives_is_named() -> None:
    images = [record(f"{n}.jpg", n % 2 == 0, str(n), "south" if n in (0, 2) else "north") for n in range(40)]
    with pytest.raises(UserError, match=r"group north \(such as 1\.jpg\) has 20 of the 20 images without.*more groups"):
        split(images, FolderData(root=".", valid_fraction=0.4))


def test_a_split_of_the_source_without_a_class_is_no_matter_of_groups() -> None:
    train = [member._replace(split="train") for member in chained_walls()]
    valid = [record("v.jpg", True, "v", None, "valid")]
    with pytest.raises(UserError) as raised:
        split([*train, *valid], FolderData(root="."))
    assert "one group" not in str(raised.value)


def test_a_split_that_a_large_group_leaves_nearly_empty_is_warned_about() -> None:
    large = [record(f"l{n}.jpg", n % 2 == 0, f"l{n}", "north") for n in range(180)]
    small = [record(f"s{n}.jpg", n % 2 == 0, f"s{n}", f"pair{n // 2}") for n in range(20)]
    data = FolderData(root=".", valid_fraction=0.4)
    splits, warnings = SplitCache().get([*large, *small], data)
    assert 0 < sum(member.crack for member in splits["valid"]) <= 10
    (warning, other) = warnings
    assert (
        "with a crack rather than 40 (data.valid_fraction=0.4): group north (such as l0.jpg) has 90 of the 100 images"
        in warning
    )
    assert "without a crack rather than 40" in other
    assert SplitCache().get(small * 1, data)[1] == []  # without the large group there is nothing to say
