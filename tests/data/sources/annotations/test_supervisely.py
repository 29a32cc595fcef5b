"""Boxes of Supervisely."""

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.data.sources.annotations.data_sets import BOX, add_photographs, boxes_of, read, write

RECTANGLE = {"exterior": [[10, 20], [39, 59]], "interior": []}


def supervisely(*objects: Any) -> dict[str, Any]:
    return {"size": {"width": 100, "height": 80}, "objects": list(objects)}


def bitmap(size: tuple[int, int]) -> str:
    file = io.BytesIO()
    Image.new("1", size, 1).save(file, "PNG")
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


@pytest.mark.parametrize(
    "item",
    [
        {"classTitle": "crack", "geometryType": "rectangle", "points": RECTANGLE},
        {"classTitle": "crack", "geometryType": "polygon", "points": {"exterior": [[10, 20], [39, 30], [12, 59]]}},
        {"classTitle": "crack", "geometryType": "bitmap", "bitmap": {"origin": [10, 20], "data": bitmap((30, 40))}},
    ],
)
def test_objects_have_their_bounding_box(tmp_path: Path, item: dict[str, Any]) -> None:
    add_photographs(tmp_path, "train/img/1.png", "valid/img/1.png")
    write(tmp_path / "meta.json", {"classes": [{"title": "crack"}]})
    write(tmp_path / "train/ann/1.png.json", supervisely(item))
    write(tmp_path / "valid/ann/1.png.json", supervisely())
    found = read(tmp_path)
    assert found.format == "Supervisely"
    assert boxes_of(found) == {"train/img/1.png": [BOX], "valid/img/1.png": []}


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({"classTitle": "crack", "points": {"exterior": [[1, 2]]}}, "has neither a bitmap nor points"),
        ({"points": RECTANGLE}, "has no classTitle"),
        ({"classTitle": "crack", "bitmap": {"origin": [1, 2], "data": "!"}}, "has no valid bitmap"),
        ({"classTitle": "crack", "bitmap": {"data": bitmap((3, 4))}}, "has no valid bitmap"),
        ({"classTitle": "crack", "bitmap": {"origin": [90, 2], "data": bitmap((30, 4))}}, "is not inside img/1.png"),
    ],
)
def test_a_bad_object_is_named_and_its_photograph_is_left_out(tmp_path: Path, bad: Any, expected: str) -> None:
    add_photographs(tmp_path, "img/1.png")
    write(tmp_path / "ann/1.png.json", supervisely(bad))
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.startswith("ann/1.png.json: object 1: ") and expected in problem
    assert found.photographs == [] and found.damaged == {"img/1.png"}


def test_a_damaged_file_is_named_and_its_photograph_is_left_out(tmp_path: Path) -> None:
    add_photographs(tmp_path, "img/1.png", "img/2.png")
    write(tmp_path / "ann/1.png.json", supervisely())
    write(tmp_path / "ann/2.png.json", "")
    found = read(tmp_path)
    assert found.problems == ["ann/2.png.json: is empty"] and found.damaged == {"img/2.png"}
