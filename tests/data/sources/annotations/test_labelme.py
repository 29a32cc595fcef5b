"""Boxes of LabelMe."""

from pathlib import Path
from typing import Any

import pytest

from tests.data.sources.annotations.data_sets import BOX, add_photographs, boxes_of, read, write

RECTANGLE = [[10, 20], [40, 60]]


def labelme(*shapes: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"imagePath": "1.png", "imageWidth": 100, "imageHeight": 80, "shapes": list(shapes)} | changed


def shape(points: Any, kind: str | None = "polygon", label: Any = "crack") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind}


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (RECTANGLE, "rectangle"),
        ([[40, 60], [10, 20]], "rectangle"),
        ([[10, 30], [25, 20], [40, 60]], "polygon"),
        ([[10, 30], [25, 20], [40, 60]], None),
        ([[10, 20], [12, 60], [40, 30]], "linestrip"),
        (RECTANGLE, "mask"),
    ],
)
def test_shapes_have_their_bounding_box(tmp_path: Path, points: Any, kind: str | None) -> None:
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "1.json", labelme(shape(points, kind)))
    found = read(tmp_path)
    assert found.format == "LabelMe"
    assert boxes_of(found) == {"1.png": [BOX]} and found.class_names == ["crack"]


def test_a_circle_is_its_centre_and_a_point_on_its_edge(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "1.json", labelme(shape([[50, 40], [53, 44]], "circle")))
    assert boxes_of(read(tmp_path)) == {"1.png": [(45, 35, 55, 45)]}


def test_the_photograph_may_be_in_another_folder(tmp_path: Path) -> None:
    add_photographs(tmp_path, "images/1.png")
    write(tmp_path / "labels/1.json", labelme(shape(RECTANGLE), imagePath="..\\images\\1.png"))
    assert boxes_of(read(tmp_path)) == {"images/1.png": [BOX]}


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (shape([[50, 40]], "point"), "is not one of polygon, rectangle"),
        (shape([[1, 2], [float("nan"), 3]]), "needs at least two points of finite numbers"),
        (shape("none"), "has no list of points"),
        (shape(RECTANGLE, label=""), "has no label"),
        (shape([[10, 20], [10, 60]], "line"), "has no area"),
        (shape([[10, 20], [140, 60]]), "is not inside 1.png of 100x80 pixels"),
        (5, "is not one of polygon"),
    ],
)
def test_a_bad_shape_is_named_and_its_photograph_is_left_out(tmp_path: Path, bad: Any, expected: str) -> None:
    add_photographs(tmp_path, "1.png")
    write(tmp_path / "1.json", labelme(shape(RECTANGLE), bad))
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.startswith("1.json: shape 2: ") and expected in problem
    assert found.photographs == [] and found.damaged == {"1.png"}


def test_a_damaged_file_is_named_and_its_photograph_is_left_out(tmp_path: Path) -> None:
    add_photographs(tmp_path, "1.png", "2.png")
    write(tmp_path / "1.json", labelme(shape(RECTANGLE)))
    write(tmp_path / "2.json", "{")
    found = read(tmp_path)
    assert found.problems[0].startswith("2.json: is not valid JSON")
    assert [one.path for one in found.photographs] == ["1.png"] and found.damaged == {"2.png"}
