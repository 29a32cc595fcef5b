"""LabelMe: a JSON file for each photograph, with a list of shapes; the bounding box of each is taken."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crackdet.data.sources.annotations.base import Collector, Corners, bounds, is_number, stated_size

NAME = "LabelMe"
SHAPES = ("polygon", "rectangle", "circle", "linestrip", "line", "mask", "rotation", "oriented_rectangle")


def is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def read(files: Sequence[tuple[Path, Any]], collect: Collector) -> None:
    """Read JSON files, given with their content."""
    for path, content in files:
        name, folder = collect.name(path), collect.folder(path)
        try:
            image = collect.finder.find(str(content["imagePath"]), folder)
        except ValueError as error:
            collect.problem(name, str(error))
            continue
        draft = collect.start(image, name, None)
        draft.check_size(stated_size(content.get("imageWidth"), content.get("imageHeight")))
        for number, shape in enumerate(content["shapes"], 1):
            where = f"{name}: shape {number}"
            try:
                draft.add_box(where, _corners(shape), _label(shape))
            except ValueError as error:
                draft.problem(where, str(error))


def _label(shape: Mapping[str, Any]) -> str:
    label = shape.get("label")
    if not isinstance(label, str) or not label.strip():
        raise ValueError("has no label")
    return label.strip()


def _corners(shape: Any) -> Corners:
    if not isinstance(shape, dict) or (kind := shape.get("shape_type") or "polygon") not in SHAPES:
        raise ValueError(f"is not one of {', '.join(SHAPES)}")
    points = shape.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError("has no list of points")
    flat = [value for point in points for value in point]
    if len(flat) < 4 or not all(map(is_number, flat)):
        raise ValueError("needs at least two points of finite numbers")
    if kind == "circle":  # the centre and a point on the edge
        x, y, radius = flat[0], flat[1], math.dist(flat[:2], flat[2:4])
        return x - radius, y - radius, x + radius, y + radius
    return bounds(flat)
