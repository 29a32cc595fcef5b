"""Boxes of Pascal VOC."""

from pathlib import Path

import pytest

from tests.data.sources.annotations.data_sets import (
    BOX,
    add_photographs,
    boxes_of,
    read,
    voc,
    voc_object,
    write,
)


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("JPEGImages/1.png", "Annotations/1.xml"),
        ("VOC2012/JPEGImages/1.png", "VOC2012/Annotations/1.xml"),
        ("train/images/1.png", "train/annotations/xmls/1.xml"),  # RDD2022
        ("train/1.png", "train/1.xml"),  # Roboflow
        ("photos/1.png", "boxes/1.xml"),
    ],
)
def test_files_are_beside_the_photographs_or_in_a_folder_of_annotations(tmp_path: Path, image: str, file: str) -> None:
    add_photographs(tmp_path, image)
    write(tmp_path / file, voc("1.png", voc_object()))
    found = read(tmp_path)
    assert found.format == "Pascal VOC"
    assert boxes_of(found) == {image: [BOX]} and found.class_names == ["crack"]


def test_a_box_from_the_first_to_the_last_pixel_is_the_whole_photograph(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "1.xml", voc("1.png", voc_object(xmin=1, ymin=1, xmax=100, ymax=80)))
    assert boxes_of(read(tmp_path)) == {"1.png": [(0, 0, 100, 80)]}


def test_a_file_without_objects_says_that_there_is_no_crack(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png", "2.png")
    write(tmp_path / "1.xml", voc("1.png"))
    assert boxes_of(read(tmp_path)) == {"1.png": []}


def test_the_splits_are_those_of_the_image_sets(tmp_path: Path) -> None:
    for name in "abc":
        add_photographs(tmp_path, f"JPEGImages/{name}.png")
        write(tmp_path / f"Annotations/{name}.xml", voc(f"{name}.png"))
    for split, names in {
        "train": "a\n",
        "val": "b\n",
        "test": "c",
        "trainval": "a\nb\n",
        "crack_train": "a -1\n",
    }.items():
        write(tmp_path / f"ImageSets/Main/{split}.txt", names)
    found = read(tmp_path)
    assert found.problems == []
    assert [one.split for one in found.photographs] == ["train", "valid", "test"]


def test_splits_that_are_not_of_the_photographs_are_named(tmp_path: Path) -> None:
    for name in "abc":
        add_photographs(tmp_path, f"JPEGImages/{name}.png")
        write(tmp_path / f"Annotations/{name}.xml", voc(f"{name}.png"))
    write(tmp_path / "ImageSets/Main/train.txt", "a\nb\n")
    write(tmp_path / "ImageSets/Main/val.txt", "b\nd\n")
    found = read(tmp_path)
    assert found.problems == [
        "ImageSets/Main/val.txt:1: b is in several splits",
        "ImageSets: d is in a split, but has no annotation",
        "Annotations/c.xml: is in none of the splits in ImageSets",
    ]
    assert [one.path for one in found.photographs] == ["JPEGImages/a.png"]


BAD = {
    "a box outside": (voc_object(xmax=140), "object 1: the box from 10, 20, 140, 60 is not inside 1.png"),
    "no area": (voc_object(xmin=50), "object 1: the box from 49, 20, 40, 60 has no area"),
    "NaN": (voc_object(xmin="nan"), "object 1: the box nan, 20, 40, 60 has a coordinate that is not a finite number"),
    "text": (voc_object(xmin="left"), "object 1: has no bndbox with the numbers xmin, ymin, xmax and ymax"),
    "no box": ("<object><name>crack</name></object>", "object 1: has no bndbox"),
    "a rotated box": ("<object><name>crack</name><robndbox><cx>1</cx></robndbox></object>", "object 1: has no bndbox"),
    "no class": (voc_object(name=""), "object 1: has no name"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_object_is_named_and_its_photograph_is_left_out(tmp_path: Path, case: str) -> None:
    item, expected = BAD[case]
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "1.xml", voc("1.png", item, voc_object()))
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.startswith(f"1.xml: {expected}")
    assert found.photographs == [] and found.damaged == {"1.png"}


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'
BAD_FILES = {
    "an empty file": ("", "1.xml: is empty"),
    "a damaged file": ("<annotation>", "1.xml: is not valid XML"),
    "an unknown encoding": ('<?xml version="1.0" encoding="none"?><annotation/>', "1.xml: is not valid XML"),
    "entities": (LAUGHS, "1.xml: declares a document type, which is not read"),
    "another size": (voc("1.png", size=(80, 100)), "1.xml: states 80x100 pixels, but 1.png has 100x80"),
    "another photograph": (voc("2.png"), "1.xml: states the photograph 2.png, but has the name of 1.png"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, case: str) -> None:
    content, expected = BAD_FILES[case]
    add_photographs(tmp_path, "1.png", "2.png")
    write(tmp_path / "1.xml", content)
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.startswith(expected)
    assert "1.png" in found.damaged


def test_files_in_other_encodings_are_read_as_they_declare(tmp_path: Path) -> None:
    add_photographs(tmp_path, "Fläche.png")
    text = voc("Fläche.png", voc_object(name="<name>Riß</name>"))
    (tmp_path / "1.xml").write_bytes(f'<?xml version="1.0" encoding="ISO-8859-1"?>{text}'.encode("latin-1"))
    found = read(tmp_path)
    assert boxes_of(found) == {"Fläche.png": [BOX]} and found.class_names == ["Riß"]
    (tmp_path / "1.xml").write_bytes(text.encode("latin-1"))
    assert "is not valid XML" in read(tmp_path).problems[0]


def test_a_missing_photograph_and_a_photograph_with_two_files_are_named(tmp_path: Path) -> None:
    add_photographs(tmp_path, "JPEGImages/1.png")
    write(tmp_path / "Annotations/1.xml", voc("1.png"))
    write(tmp_path / "JPEGImages/1.xml", voc("1.png"))
    write(tmp_path / "Annotations/2.xml", voc("2.png"))
    missing, twice = sorted(read(tmp_path).problems)
    assert missing == "Annotations/2.xml: 2.png: there is no such photograph"
    assert twice == "JPEGImages/1.xml: JPEGImages/1.png is annotated twice, first in Annotations/1.xml"
