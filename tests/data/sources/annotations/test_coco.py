"""Boxes of COCO files; pycocotools is the reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as reference
from pycocotools.coco import COCO

from crackdet.data.sources.annotations.rle import rle_bounds
from tests.data.sources.annotations.data_sets import BOX, add_photographs, boxes_of, coco, coco_box, read, write

Mask = NDArray[np.bool_]

POLYGON = [10, 20, 40, 20, 40, 60]
TINY = np.zeros((80, 100), np.bool_)
TINY[20:60, 10:40] = True


def compressed(mask: Mask) -> dict[str, Any]:
    encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(map(int, encoded["size"])), "counts": encoded["counts"].decode()}


def uncompressed(mask: Mask) -> dict[str, Any]:
    flat = mask.astype(np.int8).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *([0] if flat[0] else []), *changes.tolist(), flat.size]
    return {"size": list(mask.shape), "counts": np.diff(edges).tolist()}


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any), st.booleans())
def test_the_bounds_of_run_lengths_are_those_of_pycocotools(mask: Mask, text: bool) -> None:
    left, top, width, height = reference.toBbox(reference.encode(np.asfortranarray(mask.astype(np.uint8))))
    encoded = compressed(mask) if text else uncompressed(mask)
    assert rle_bounds(encoded) == (left, top, left + width, top + height)


def test_long_run_lengths_are_decompressed_as_by_pycocotools() -> None:
    mask = np.random.default_rng(0).random((700, 900)) < 0.0003
    mask[300:, 400:700] = True
    left, top, width, height = reference.toBbox(reference.encode(np.asfortranarray(mask.astype(np.uint8))))
    assert rle_bounds(compressed(mask)) == (left, top, left + width, top + height)


@pytest.mark.parametrize("segmentation", [[POLYGON], [[10, 20, 40, 20, 20, 30], [30, 60, 12, 25, 20, 30]],
                                          compressed(TINY), uncompressed(TINY)])  # fmt: skip
def test_a_box_is_taken_from_the_segmentation_if_there_is_no_bbox(tmp_path: Path, segmentation: Any) -> None:
    add_photographs(tmp_path, "images/1.png")
    cases: list[dict[str, Any]] = [{}, {"bbox": []}]
    for without in cases:
        annotation = {key: value for key, value in coco_box().items() if key != "bbox"} | without
        write(tmp_path / "annotations.json", coco(annotation | {"segmentation": segmentation}))
        assert boxes_of(read(tmp_path)) == {"images/1.png": [BOX]}


def test_boxes_are_those_that_pycocotools_reads(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    images = [{"id": f"id{name}", "file_name": f"{name}.png", "width": 100, "height": 80} for name in "abc"]
    annotations = [
        coco_box(id=number, image_id="ida" if number % 2 else "idc", bbox=[number, 2.5, 10.25, 20])
        for number in range(8)
    ]
    file = write(tmp_path / "annotations.json", coco(*annotations, images=images))
    found = boxes_of(read(tmp_path))
    expected = COCO(str(file))
    for image in images:
        entries = expected.loadAnns(expected.getAnnIds(imgIds=[image["id"]]))
        corners = [(x, y, x + w, y + h) for x, y, w, h in (entry["bbox"] for entry in entries)]
        assert found[f"images/{image['file_name']}"] == corners


def test_a_box_that_exceeds_the_photograph_by_a_rounding_is_clipped(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "annotations.json", coco(coco_box(bbox=[-1.5, -0.5, 102.5, 82])))
    assert boxes_of(read(tmp_path)) == {"1.png": [(0, 0, 100, 80)]}


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train/_annotations.coco.json", "valid/_annotations.coco.json"], ["train", "valid"]),  # Roboflow
        (["annotations/instances_train2017.json", "annotations/instances_val2017.json"], ["train", "valid"]),
        (["train.json", "test.json"], ["train", "test"]),
    ],
)
def test_each_split_has_a_file(tmp_path: Path, files: list[str], splits: list[str]) -> None:
    folders = ["train2017", "val2017"] if "instances" in files[0] else splits
    for file, folder in zip(files, folders, strict=True):
        add_photographs(tmp_path, f"{folder}/1.png")  # the same name in both
        write(tmp_path / file, coco(coco_box()))
    found = read(tmp_path)
    assert boxes_of(found) == {f"{folder}/1.png": [BOX] for folder in folders}
    assert sorted(one.split or "" for one in found.photographs) == sorted(splits)
    assert all(one.path.startswith((one.split or "none")[:3]) for one in found.photographs)


def test_captions_and_keypoints_of_the_same_photographs_are_not_read(tmp_path: Path) -> None:
    add_photographs(tmp_path, "val2017/1.png")
    write(tmp_path / "annotations/instances_val2017.json", coco(coco_box()))
    write(tmp_path / "annotations/captions_val2017.json", coco({"id": 1, "image_id": 1, "caption": "a wall"}))
    assert boxes_of(read(tmp_path)) == {"val2017/1.png": [BOX]}


def test_a_photograph_without_annotations_has_no_boxes_and_other_photographs_are_not_listed(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png", "2.png")
    write(tmp_path / "annotations.json", coco())
    assert boxes_of(read(tmp_path)) == {"1.png": []}


BAD = {
    "a box outside": (coco_box(bbox=[80, 20, 40, 40]), "the box from 80, 20, 120, 60 is not inside 1.png"),
    "a negative box": (coco_box(bbox=[-9, 20, 40, 40]), "annotation 1: the box from -9, 20, 31, 60 is not inside"),
    "no area": (coco_box(bbox=[80, 20, 0, 40]), "annotation 1: the box from 80, 20, 80, 60 has no area"),
    "a negative width": (coco_box(bbox=[80, 20, -10, 40]), "annotation 1: the box from 80, 20, 70, 60 has no area"),
    "a relative box": (coco_box(bbox=[0.1, 0.2, 0.3, 0.4]), "annotation 1: the box from 0.1, 0.2, 0.4, 0.6 is smaller"),
    "NaN": (coco_box(bbox=[80, float("nan"), 10, 40]), "annotation 1: bbox must be four finite numbers"),
    "infinity": (coco_box(bbox=[80, 20, float("inf"), 4]), "annotation 1: bbox must be four finite numbers"),
    "a huge number": (coco_box(bbox=[10**400, 20, 1, 4]), "annotation 1: bbox must be four finite numbers"),
    "text": (coco_box(bbox=["10", 20, 1, 4]), "annotation 1: bbox must be four finite numbers"),
    "three numbers": (coco_box(bbox=[10, 20, 30]), "annotation 1: bbox must be four finite numbers"),
    "no box": (coco_box(bbox=None), "annotation 1: has neither a bbox nor polygons"),
    "a damaged polygon": (coco_box(bbox=None, segmentation=[[1, 2, 3]]), "has neither a bbox nor polygons"),
    "RLE of another size": (coco_box(bbox=None, segmentation={"size": [9, 9], "counts": [3, 4]}), "does not fill 9x9"),
    "damaged RLE": (coco_box(bbox=None, segmentation={"size": [9, 9], "counts": "\x00"}), "has no valid counts"),
    "empty RLE": (coco_box(bbox=None, segmentation={"size": [9, 9], "counts": [81]}), "its mask is empty"),
    "a crowd": (coco_box(iscrowd=1), "annotation 1: is a crowd (iscrowd=1)"),
    "an unknown category": (coco_box(category_id=7), "annotation 1: there is no category 7"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_annotation_is_named_and_its_photograph_is_left_out(tmp_path: Path, case: str) -> None:
    annotation, expected = BAD[case]
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "annotations.json", coco(coco_box(id=0), annotation))
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.startswith("annotations.json: annotation 1: ") and expected in problem
    assert found.photographs == [] and found.damaged == {"1.png"}


ONE = {"id": 1, "file_name": "1.png"}
BAD_FILES = {
    "an unknown image": (coco(coco_box(image_id=7)), "annotation 1: there is no image 7"),
    "an annotation of no image": (coco({"id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}), "there is no image None"),
    "two annotations of one id": (coco(coco_box(), coco_box()), "annotation 1: several annotations have the id 1"),
    "two images of one id": (coco(images=[ONE, ONE | {"file_name": "2.png"}]), "image 1: several images have the id 1"),
    "two images of one name": (
        coco(images=[ONE, ONE | {"id": 2}]), "image 2: 1.png is annotated twice, first in annotations.json: image 1"
    ),
    "two categories of one id": (
        coco(categories=[{"id": 1, "name": "crack"}, {"id": 1, "name": "joint"}]), "several categories have the id 1"
    ),
    "a category without a name": (coco(categories=[{"id": 1}]), "category 1: has no name"),
    "no categories": ({"images": [ONE], "annotations": []}, "annotations.json: the list named categories is missing"),
    "a missing image": (coco(images=[{"id": 1, "file_name": "3.png"}]), "image 1: 3.png: there is no such photograph"),
    "an image without a name": (coco(images=[{"id": 1}]), "annotations.json: image 1: has no file_name"),
    "an image without an id": (coco(images=[{"file_name": "1.png"}]), "annotations.json: images, entry 1: has no id"),
    "an image that is a number": (coco(images=[5]), "annotations.json: images, entry 1: is not an object"),  # type: ignore[list-item]
    "another size": (
        coco(images=[ONE | {"width": 50, "height": 40}]), "image 1: states 50x40 pixels, but 1.png has 100x80"
    ),
    "annotations of text": (coco(annotations="many"), "annotations.json: the list named annotations is missing"),
    "an empty file": ("", "annotations.json: is empty"),
    "a damaged file": ('{"images": [', "annotations.json: is not valid JSON"),
    "deep nesting": ("[" * 100_000, "annotations.json: is not valid JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, case: str) -> None:
    content, expected = BAD_FILES[case]
    add_photographs(tmp_path, "1.png", "2.png")
    write(tmp_path / "annotations.json", content)
    found = read(tmp_path)
    (problem,) = found.problems
    assert expected in problem


def test_all_problems_are_in_one_list(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "annotations.json", coco(*(annotation | {"id": key} for key, (annotation, _) in BAD.items())))
    assert len(read(tmp_path).problems) == len(BAD)


def test_a_damaged_file_may_annotate_any_photograph_so_none_counts_as_not_annotated(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png", "2.png")
    write(tmp_path / "annotations.json", "{")
    assert read(tmp_path).damaged == {"1.png", "2.png"}


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    (tmp_path / "annotations.json").write_bytes('{"images": [], "annotations": ["Fläche"]}'.encode("latin-1"))
    assert read(tmp_path).problems == ["annotations.json: is not UTF-8 text"]
    write(tmp_path / "annotations.json", "")
    (tmp_path / "annotations.json").write_bytes(
        b"\xef\xbb\xbf" + b'{"images": [], "annotations": [], "categories": []}'
    )
    assert read(tmp_path).problems == []
