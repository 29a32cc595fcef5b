"""Which annotations are found, which photographs they name, and photographs that are turned."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crackdet.core.errors import UserError
from crackdet.data.decode import TO_UPRIGHT
from crackdet.data.synthetic.export import FORMATS, Labelled
from tests.data.sources.annotations.data_sets import (
    BOX,
    SIZE,
    YOLO_BOX,
    add_photographs,
    boxes_of,
    coco,
    coco_box,
    read,
    voc,
    write,
)


@st.composite
def whole_boxes(draw: st.DrawFn, size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    return left, top, draw(st.integers(left + 1, size[0])), draw(st.integers(top + 1, size[1]))


@pytest.mark.parametrize("size", [SIZE, (4031, 3023)])
@pytest.mark.parametrize("format_name", FORMATS)
def test_whole_boxes_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, format_name: str, size: tuple[int, int]
) -> None:
    root = add_photographs(tmp_path_factory.mktemp("walls"), "images/a.png", "images/b.png", size=size)

    @given(st.lists(whole_boxes(size), max_size=4), st.lists(whole_boxes(size), max_size=4))
    def check(first: list[tuple[int, int, int, int]], second: list[tuple[int, int, int, int]]) -> None:
        FORMATS[format_name](root, [Labelled("a.png", size, first), Labelled("b.png", size, second)])
        found = read(root)
        assert boxes_of(found) == {"images/a.png": first, "images/b.png": second}
        assert found.class_names == ["crack"] or not first + second

    check()


@pytest.mark.parametrize(
    "name",
    [
        "1.png",
        "images/1.png",
        "walls/north/1.png",  # folders of another machine
        "C:\\Users\\me\\walls\\1.png",
        "./../images/1.png",
        "1.jpg",  # another extension
        "1.PNG",
        "/data/images/1.png",
    ],
)
def test_a_photograph_is_found_by_paths_of_other_machines(tmp_path: Path, name: str) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "annotations.json", coco(coco_box(), images=[{"id": 1, "file_name": name}]))
    assert boxes_of(read(tmp_path)) == {"images/1.png": [BOX]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("north/2.png", "north/2.png: there is no such photograph there; another folder has south/2.png"),
        ("1.png", "1.png may be each of north/1.png, south/1.png"),
        ("", "without a name: there is no such photograph"),
        ("..", "..: there is no such photograph"),
        ("3.png", "3.png: there is no such photograph"),
    ],
)
def test_a_photograph_in_another_folder_is_not_taken_for_the_named_one(
    tmp_path: Path, name: str, expected: str
) -> None:
    add_photographs(tmp_path, "north/1.png", "south/1.png", "south/2.png")
    write(tmp_path / "annotations.json", coco(coco_box(), images=[{"id": 1, "file_name": name}]))
    assert read(tmp_path).problems == [f"annotations.json: image 1: {expected}"]


def test_photographs_of_one_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    add_photographs(tmp_path, "north/1.png", "south/1.png")
    images = [{"id": 1, "file_name": "north/1.png"}, {"id": 2, "file_name": "photos\\south\\1.png"}]
    write(tmp_path / "annotations.json", coco(coco_box(image_id=2), images=images))
    assert boxes_of(read(tmp_path)) == {"north/1.png": [], "south/1.png": [BOX]}


def test_a_photograph_of_another_split_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    add_photographs(tmp_path, "train/1.png", "valid/2.png")
    write(tmp_path / "train/_annotations.coco.json", coco(images=[{"id": 1, "file_name": "2.png"}]))
    assert "another folder has valid/2.png" in read(tmp_path).problems[0]


@pytest.mark.parametrize("orientation", [1, *TO_UPRIGHT])
@pytest.mark.parametrize("states_upright", [True, False])
def test_boxes_of_a_turned_photograph_are_in_upright_pixels(
    tmp_path: Path, orientation: int, states_upright: bool
) -> None:
    add_photographs(tmp_path, "1.png", orientation=orientation)
    upright = SIZE[::-1] if orientation >= 5 else SIZE
    stated = upright if states_upright else SIZE
    image = {"id": 1, "file_name": "1.png", "width": stated[0], "height": stated[1]}
    write(tmp_path / "annotations.json", coco(coco_box(bbox=[10, 20, 30, 5]), images=[image]))
    expected = (10, 20, 40, 25)
    if stated != upright:  # then the pixels of the file are turned as Pillow turns them
        pixels = np.zeros(SIZE[::-1], np.uint8)
        pixels[20:25, 10:40] = 255
        expected = Image.fromarray(pixels).transpose(TO_UPRIGHT[orientation]).getbbox()  # type: ignore[assignment]
    assert boxes_of(read(tmp_path)) == {"1.png": [expected]}


def test_a_photograph_of_swapped_size_that_is_not_turned_is_a_problem(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    image = {"id": 1, "file_name": "1.png", "width": SIZE[1], "height": SIZE[0]}
    write(tmp_path / "annotations.json", coco(images=[image]))
    assert read(tmp_path).problems == ["annotations.json: image 1: states 80x100 pixels, but 1.png has 100x80"]


def test_two_formats_are_refused_until_one_is_named(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "annotations.json", coco(coco_box()))
    write(tmp_path / "voc/1.xml", voc("1.png"))
    with pytest.raises(UserError, match=r"COCO \(annotations.json\), Pascal VOC \(voc/1.xml\); choose one"):
        read(tmp_path)
    assert boxes_of(read(tmp_path, "annotations.json")) == {"images/1.png": [BOX]}
    assert boxes_of(read(tmp_path, "voc")) == {"images/1.png": []}


def test_two_files_of_one_format_are_refused_until_one_is_named(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    for name in ("old.json", "new.json"):
        write(tmp_path / name, coco(coco_box()))
    with pytest.raises(UserError, match=r"several COCO files: new.json, old.json; choose one with data.annotations"):
        read(tmp_path)
    assert boxes_of(read(tmp_path, "new.json")) == {"1.png": [BOX]}


def test_annotations_may_be_outside_the_root(tmp_path: Path) -> None:
    add_photographs(tmp_path / "photos", "1.png")
    file = write(tmp_path / "test/annotations.json", coco(coco_box()))
    for given_path in (str(file), "../test/annotations.json"):
        found = read(tmp_path / "photos", given_path)
        assert boxes_of(found) == {"1.png": [BOX]} and found.photographs[0].split is None


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", [{"data": {"image": "1.png"}, "annotations": []}], "a.json is of Label Studio"),
        ("a.json", [{"image": "1.png", "annotations": []}], "a.json is of CreateML"),
        ("a.json", {"1.png12": {"filename": "1.png", "regions": []}}, "a.json is of VGG Image Annotator"),
        ("a.json", {"items": [], "categories": {}}, "a.json is of Datumaro"),
        ("a.xml", "<annotations><image name='1.png'/></annotations>", "a.xml is of CVAT"),
        ("a.txt", "hello", "holds no annotations in a format that is read: COCO"),
    ],
)
def test_annotations_of_another_format_are_refused(tmp_path: Path, name: str, content: object, expected: str) -> None:
    add_photographs(tmp_path, "1.png")
    write(tmp_path / name, content)
    with pytest.raises(UserError, match=expected):
        read(tmp_path)


def test_a_missing_file_of_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.annotations=boxes.json: there is no such file or folder"):
        read(add_photographs(tmp_path, "1.png"), "boxes.json")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes")
def test_a_named_pipe_does_not_block(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    os.mkfifo(tmp_path / "annotations.json")
    assert read(tmp_path).problems == ["annotations.json: cannot be read (is not a regular file)"]


def test_annotations_behind_links_are_read(tmp_path: Path) -> None:
    root = add_photographs(tmp_path / "walls", "images/1.png")
    write(tmp_path / "elsewhere/1.txt", YOLO_BOX)
    (root / "labels").symlink_to(tmp_path / "elsewhere")
    assert boxes_of(read(root)) == {"images/1.png": [BOX]}


def test_damaged_files_of_other_formats_do_not_matter(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.txt", YOLO_BOX)
    write(tmp_path / "settings.json", "{")
    assert boxes_of(read(tmp_path)) == {"images/1.png": [BOX]}


def test_a_photograph_that_cannot_be_read_has_no_boxes_and_no_second_problem(tmp_path: Path) -> None:
    write(tmp_path / "images/1.png", "no image")
    write(tmp_path / "labels/1.txt", YOLO_BOX)
    found = read(tmp_path)
    assert boxes_of(found) == {"images/1.png": []}  # the source names the photograph


def test_all_files_that_were_read_are_listed(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/1.png")
    files = [
        write(tmp_path / "data.yaml", "names: [crack]\ntrain: list.txt\n"),
        write(tmp_path / "labels/1.txt", YOLO_BOX),
    ]
    files.append(write(tmp_path / "list.txt", "images/1.png\n"))
    assert sorted(read(tmp_path).files) == sorted(files)
