"""Boxes of YOLO's label files."""

from pathlib import Path

import pytest

from crackdet.core.errors import UserError
from tests.data.sources.annotations.data_sets import BOX, YOLO_BOX, add_photographs, boxes_of, read, write

NAMES = "names: [crack, joint]\n"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/1.png", "labels/1.txt"),
        ("images/train/1.png", "labels/train/1.txt"),
        ("train/images/1.png", "train/labels/1.txt"),
        ("photos/1.png", "photos/1.txt"),
        ("1.png", "1.txt"),
        ("wall 7/images/a/1.png", "wall 7/labels/a/1.txt"),
        ("pictures/1.png", "annotation/yolo/labels/1.txt"),
    ],
)
def test_labels_are_beside_the_photographs_or_in_a_folder_of_labels(tmp_path: Path, image: str, label: str) -> None:
    add_photographs(tmp_path, image)
    write(tmp_path / label, f"{YOLO_BOX}\n\n")
    found = read(tmp_path)
    assert boxes_of(found) == {image: [BOX]}
    assert found.class_names == ["0"]


@pytest.mark.parametrize("names", ["[crack, joint]", "{0: crack, 1: joint}", "\n  0: crack\n  1: joint"])
def test_classes_have_the_names_of_the_description(tmp_path: Path, names: str) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", YOLO_BOX.replace("0", "1", 1))
    write(tmp_path / "data.yaml", f"train: images\nnc: 2\nnames: {names}\n")
    found = read(tmp_path)
    assert found.problems == [] and found.photographs[0].boxes[0].class_name == "joint"
    assert found.class_names == ["crack", "joint"]


@pytest.mark.parametrize("file", ["classes.txt", "labels/classes.txt", "obj.names"])
def test_classes_have_the_names_of_a_list(tmp_path: Path, file: str) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", YOLO_BOX)
    write(tmp_path / file, "fissure\n")
    assert read(tmp_path).class_names == ["fissure"]


@pytest.mark.parametrize(
    "line",
    [
        "0 0.1 0.25 0.4 0.25 0.4 0.75 0.2 0.5",  # a polygon, or an oriented box
        "0 0.1 0.25 0.4 0.25 0.25 0.75",
        "0.0 2.5e-1 0.50000 0.3 0.5",
        "0 0.25 0.5 0.300000001 0.5",
    ],
)
def test_polygons_and_oriented_boxes_have_their_bounding_box(tmp_path: Path, line: str) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", line)
    assert boxes_of(read(tmp_path)) == {"images/1.png": [BOX]}


def test_keypoints_are_not_taken_for_a_polygon(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", f"{YOLO_BOX} 0.9 0.9 0.1 0.1")
    write(tmp_path / "data.yaml", f"{NAMES}kpt_shape: [2, 2]\ntrain: images\n")
    assert boxes_of(read(tmp_path)) == {"images/1.png": [BOX]}


def test_an_empty_file_says_that_there_is_no_crack_and_a_photograph_without_a_file_is_not_listed(
    tmp_path: Path,
) -> None:
    add_photographs(tmp_path, "images/1.png", "images/2.png")
    write(tmp_path / "labels/1.txt", "")
    assert boxes_of(read(tmp_path)) == {"images/1.png": []}


@pytest.mark.parametrize(
    "description",
    [
        "train: images/a\nval: images/b\n",
        "path: .\ntrain: [images/a]\nval: [images/b]\n",
        "path: /home/somebody/datasets/walls\ntrain: images/a\nval: images/b\n",
        "train: ../images/a\nval: ../images/b\n",  # Roboflow
        "train: /content/walls/images/a\nval: 'C:\\walls\\images\\b'\n",
        "train: lists/a.txt\nval: lists/b.txt\n",
    ],
)
def test_the_splits_are_those_of_the_description(tmp_path: Path, description: str) -> None:
    add_photographs(tmp_path, "images/a/1.png", "images/b/1.png", "images/b/2.png")
    for name in ("a/1", "b/1", "b/2"):
        write(tmp_path / f"labels/{name}.txt", YOLO_BOX)
    write(tmp_path / "lists/a.txt", "./images/a/1.png\n")
    write(tmp_path / "lists/b.txt", "/home/somebody/images/b/1.png\n../images/b/2.png\n")
    write(tmp_path / "data.yaml", NAMES + description)
    found = read(tmp_path)
    assert found.problems == []
    assert [one.split for one in found.photographs] == ["train", "valid", "valid"]


@pytest.mark.parametrize("annotations", ["data.yaml", "labels"])
def test_a_description_or_a_folder_of_labels_can_be_named(tmp_path: Path, annotations: str) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", YOLO_BOX)
    write(tmp_path / "annotations.json", {"images": [], "annotations": []})
    write(tmp_path / "data.yaml", f"{NAMES}path: .\n")
    found = read(tmp_path, annotations)
    assert boxes_of(found) == {"images/1.png": [BOX]} and found.class_names == ["crack", "joint"]
    with pytest.raises(UserError, match=r"several formats.*choose one with data.annotations"):
        read(tmp_path)


BAD_LINES = {
    "0 0.9 0.5 0.4 0.5": "the box from 70, 20, 110, 60 is not inside images/1.png of 100x80 pixels",
    "0 0.25 0.5 0.0 0.5": "has no area",
    "0 0.25 0.5 -0.3 0.5": "coordinates are shares of the photograph",
    "0 25 40 30 40": "coordinates are shares of the photograph, from 0 to 1, not '0 25 40 30 40'",
    "0 nan 0.5 0.3 0.5": "coordinates are shares of the photograph",
    "0 inf 0.5 0.3 0.5": "coordinates are shares of the photograph",
    "0 0.25 0.5 0.3": "has 3 numbers after the class",
    "0 0.25 0.5 0.3 0.5 0.97": "the last one may be the confidence of a prediction",
    "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7": "has 7 numbers after the class",
    "2 0.25 0.5 0.3 0.5": "there is no class 2; data.yaml names 0 to 1",
    "-1 0.25 0.5 0.3 0.5": "there is no class -1",
    "0.5 0.25 0.5 0.3 0.5": "there is no class 0.5",
    "crack 0.25 0.5 0.3 0.5": "must be numbers",
    "0, 0.25, 0.5, 0.3, 0.5": "must be numbers",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named_and_its_photograph_is_left_out(tmp_path: Path, line: str) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", f"{YOLO_BOX}\n{line}\n")
    write(tmp_path / "data.yaml", f"{NAMES}path: .\n")
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.startswith("labels/1.txt:2: ") and BAD_LINES[line] in problem
    assert found.photographs == [] and found.damaged == {"images/1.png"}


BAD_DESCRIPTIONS = {
    f"{NAMES}train: photos\n": "data.yaml: train: photos: there is no such folder or list in",
    f"{NAMES}train: images\nval: images\n": "data.yaml: train and valid share 2 photographs, such as images/1.png",
    f"{NAMES}train: 5\n": "data.yaml: train must be a folder or a list of folders, not 5",
    f"{NAMES}train: list.txt\n": "list.txt:2: 9.png: there is no such photograph",
    f"{NAMES}nc: 3\npath: .\n": "data.yaml: nc is 3, but there are 2 names",
    "names: crack\npath: .\n": "data.yaml: names must be a list, or names by whole numbers",
    "names: [crack\n": "data.yaml: is not valid YAML",
    "names: &a [crack]\npath: *a\n": "data.yaml: uses YAML aliases",
}


@pytest.mark.parametrize("description", BAD_DESCRIPTIONS)
def test_what_is_wrong_in_a_description_is_named(tmp_path: Path, description: str) -> None:
    add_photographs(tmp_path, "images/1.png", "images/2.png")
    for name in ("1", "2"):
        write(tmp_path / f"labels/{name}.txt", YOLO_BOX)
    write(tmp_path / "list.txt", "images/1.png\n9.png\nimages/2.png\n")
    write(tmp_path / "data.yaml", description)
    (problem,) = read(tmp_path).problems
    assert BAD_DESCRIPTIONS[description] in problem


def test_labels_that_belong_to_no_photograph_of_their_folder_are_named(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/train/1.png", "images/val/2.png")
    for name in ("train/1", "train/2", "train/3"):
        write(tmp_path / f"labels/{name}.txt", YOLO_BOX)
    missing, none = sorted(read(tmp_path).problems)
    assert missing == "labels/train/2.txt: 2: there is no such photograph there; another folder has images/val/2.png"
    assert none == "labels/train/3.txt: 3: there is no such photograph"


def test_photographs_of_one_name_and_two_labels_of_a_photograph_are_named(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/1.png", "images/1.bmp", "images/2.png")
    write(tmp_path / "labels/1.txt", YOLO_BOX)
    write(tmp_path / "labels/2.txt", YOLO_BOX)
    write(tmp_path / "images/2.txt", YOLO_BOX)
    several, twice = sorted(read(tmp_path).problems)
    assert several == "labels/1.txt: 1 may be each of images/1.bmp, images/1.png"
    assert twice == "labels/2.txt: images/2.png is annotated twice, first in images/2.txt"


def test_photographs_in_no_split_of_the_description_are_named(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/a/1.png", "images/b/2.png")
    write(tmp_path / "labels/a/1.txt", YOLO_BOX)
    write(tmp_path / "labels/b/2.txt", YOLO_BOX)
    write(tmp_path / "data.yaml", f"{NAMES}train: images/a\n")
    found = read(tmp_path)
    assert found.problems == ["data.yaml: 1 annotated photographs are in none of the splits, such as images/b/2.png"]
    assert found.damaged == {"images/b/2.png"}


def test_several_descriptions_are_refused(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", YOLO_BOX)
    write(tmp_path / "data.yaml", f"{NAMES}path: .\n")
    write(tmp_path / "walls.yaml", f"{NAMES}path: .\n")
    with pytest.raises(UserError, match=r"several descriptions of YOLO data: data.yaml, walls.yaml; choose one"):
        read(tmp_path)
    assert read(tmp_path, "walls.yaml").problems == []
