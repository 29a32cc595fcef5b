"""Supervisely: `<data set>/ann/<photograph's name>.json` beside `<data set>/img`; bounding boxes of objects are taken.

Rectangles and polygons are in whole pixels, of which the last counts.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crackdet.data.sources.annotations.base import Collector, Corners, bounds, is_number, stated_size

NAME = "Supervisely"


def is_supervisely(content: Any) -> bool:
    return (
        isinstance(content, dict) and isinstance(content.get("objects"), list) and isinstance(content.get("size"), dict)
    )


def read(files: Sequence[tuple[Path, Any]], collect: Collector) -> None:
    """Read JSON files, given with their content."""
    for path, content in files:
        name, folder = collect.name(path), collect.folder(path)
        try:
            image = collect.finder.find_beside(folder / path.name)
        except ValueError as error:
            collect.problem(name, str(error))
            continue
        draft = collect.start(image, name, None)
        draft.check_size(stated_size(content["size"].get("width"), content["size"].get("height")))
        for number, item in enumerate(content["objects"], 1):
            where = f"{name}: object {number}"
            try:
                draft.add_box(where, _corners(item), str(item.get("classTitle") or ""))
            except ValueError as error:
                draft.problem(where, str(error))


def _corners(item: Any) -> Corners:
    if not isinstance(item, dict) or not item.get("classTitle"):
        raise ValueError("has no classTitle")
    if isinstance(item.get("bitmap"), dict):
        return _bitmap_corners(item["bitmap"])
    points = item.get("points")
    exterior = points.get("exterior") if isinstance(points, dict) else None
    if not isinstance(exterior, list) or len(exterior) < 2 or not all(map(_is_point, exterior)):
        raise ValueError("has neither a bitmap nor points of finite numbers")
    left, top, right, bottom = bounds([value for point in exterior for value in point])
    return left, top, right + 1, bottom + 1


def _bitmap_corners(bitmap: Mapping[str, Any]) -> Corners:
    """Return the bounding box of a bitmap, which is a PNG image of the object, compressed once more."""
    origin = bitmap.get("origin")
    try:
        header = zlib.decompressobj().decompress(base64.b64decode(str(bitmap.get("data"))), 24)
        width, height = struct.unpack(">II", header[16:24])
    except (binascii.Error, zlib.error, struct.error):
        width = height = 0
    if not isinstance(origin, list) or not _is_point(origin) or not width or not height:
        raise ValueError("has no valid bitmap")
    left, top = origin
    return left, top, left + width, top + height


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
