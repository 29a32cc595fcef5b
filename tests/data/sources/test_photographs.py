"""Which images are photographs, which are masks, and which mask belongs to which photograph."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.data.sources.photographs import is_kind_or_split, pair_masks, split_in_path

LAYOUTS = {
    "two folders": {"images/7.jpg": "masks/7.png"},
    "two folders of splits": {"train/images/7.jpg": "train/masks/7.png", "valid/images/7.jpg": "valid/masks/7.png"},
    "splits in the folders of kinds": {"images/train/7.jpg": "masks/train/7.png"},
    "splits in the names of folders": {"train_img/7.jpg": "train_lab/7.png", "val_img/7.jpg": "val_lab/7.png"},
    "ground truth": {"JPEGImages/7.jpg": "SegmentationClass/7.png", "JPEGImages/8.jpg": "SegmentationClass/8.png"},
    "ground truth in words": {"original/7.jpg": "Ground Truth/7.png"},
    "walls with folders of their own": {"a/images/7.jpg": "a/masks/7.png", "b/images/7.jpg": "b/masks/7.png"},
    "a suffix in a folder": {"images/7.jpg": "masks/7_mask.png", "images/8.jpg": "masks/8-label.png"},
    "a suffix beside the photograph": {"7.jpg": "7_mask.png", "8.png": "8_mask.png"},
    "a suffix with another letter case": {"a/7.JPG": "a/7_GT.PNG"},
    "the same name with a lossless format": {"7.jpg": "7.png", "8.jpg": "8.bmp"},
    "photographs at the top": {"7.jpg": "masks/7.png"},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_usual_layouts_are_known(layout: dict[str, str]) -> None:
    found = pair_masks([*layout, *layout.values()], None, None)
    assert found.masks == {photograph: [mask] for photograph, mask in layout.items()}
    assert sorted(found.photographs) == sorted(layout)
    assert found.unused_masks == []


@given(order=st.permutations([file for pair in LAYOUTS["walls with folders of their own"].items() for file in pair]))
def test_pairs_do_not_depend_on_the_order_of_files(order: list[str]) -> None:
    found = pair_masks(order, None, None)
    assert found.masks == {
        photograph: [mask] for photograph, mask in LAYOUTS["walls with folders of their own"].items()
    }


def test_a_folder_of_masks_can_have_any_name() -> None:
    names = ["photos/7.jpg", "drawn/7.png", "photos/masks.jpg"]
    assert pair_masks(names, "drawn", None).masks == {"photos/7.jpg": ["drawn/7.png"]}


def test_a_suffix_can_be_set() -> None:
    names = ["7.png", "7_crk.png", "8.png", "8_mask.png"]
    found = pair_masks(names, None, "_crk")
    assert found.masks == {"7.png": ["7_crk.png"]}
    assert found.photographs == ["7.png", "8.png", "8_mask.png"]


def test_masks_outside_the_root_belong_to_photographs_of_the_same_name() -> None:
    found = pair_masks(["walls/7.jpg", "/drawn/7.png"], "/drawn", None)
    assert found.masks == {"walls/7.jpg": ["/drawn/7.png"]}


@pytest.mark.parametrize(
    "names",
    [
        ["7.jpg", "8.jpg"],
        ["7.jpg", "7.jpeg"],  # two photographs
        ["7.png", "7.bmp"],
        ["unmasked/7.jpg", "8.jpg"],
        ["7_mask.png"],  # of no photograph
    ],
)
def test_photographs_alone_have_no_masks(names: list[str]) -> None:
    found = pair_masks(names, None, None)
    assert found.masks == {}
    assert found.photographs == names


def test_several_masks_of_one_photograph_and_masks_of_none_are_told() -> None:
    found = pair_masks(["images/7.jpg", "masks/7.png", "masks/7_mask.png", "masks/9.png"], None, None)
    assert found.masks == {"images/7.jpg": ["masks/7.png", "masks/7_mask.png"]}
    assert found.unused_masks == ["masks/9.png"]


def test_a_name_in_two_folders_is_not_paired_by_its_name_alone() -> None:
    found = pair_masks(["north/7.jpg", "south/7.jpg", "masks/7.png"], None, None)
    assert found.masks == {}
    assert found.unused_masks == ["masks/7.png"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/images/7.jpg", "train"),
        ("images/val/7.jpg", "valid"),
        ("validation/7.jpg", "valid"),
        ("Test_img/7.jpg", "test"),
        ("train2017/7.jpg", "train"),
        ("images/train.jpg", None),
        ("training wall/7.jpg", None),
        ("7.jpg", None),
    ],
)
def test_a_folder_gives_the_split(name: str, split: str | None) -> None:
    assert split_in_path(name) == split


@pytest.mark.parametrize(("folder", "known"), [("train", True), ("images", True), ("my photos", False), ("a", False)])
def test_folders_of_splits_and_kinds_are_no_groups(folder: str, known: bool) -> None:
    assert is_kind_or_split(folder) is known
