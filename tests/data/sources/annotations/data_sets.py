"""Small photographs with annotations, and how the tests read them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from crackdet.data.decode import upright_size
from crackdet.data.sources.annotations.base import Annotations
from crackdet.data.sources.annotations.finding import read_annotations
from crackdet.data.sources.names import is_image

SIZE = (100, 80)  # width and height of all photographs
BOX = (10.0, 20.0, 40.0, 60.0)
VOC_BOX = {"xmin": 11, "ymin": 21, "xmax": 40, "ymax": 60}
YOLO_BOX = "0 0.25 0.5 0.3 0.5"

Boxes = dict[str, list[tuple[float, float, float, float]]]


def add_photographs(root: Path, *names: str, size: tuple[int, int] = SIZE, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(root / name, exif=exif)
    return root


def write(path: Path, content: Any) -> Path:
    """Write a text, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(root: Path, annotations: str | None = None) -> Annotations:
    images = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path.name))
    return read_annotations(root, annotations, images, lambda name: upright_size(root / name))


def boxes_of(found: Annotations) -> Boxes:
    """Return the corners of the boxes of each photograph, which has no problem."""
    assert found.problems == []
    return {one.path: [box[:4] for box in one.boxes] for one in found.photographs}


def coco(*annotations: dict[str, Any], images: Sequence[dict[str, Any]] = (), **changed: Any) -> dict[str, Any]:
    """Return a COCO file about one photograph, `1.png`."""
    one = {"id": 1, "file_name": "1.png", "width": SIZE[0], "height": SIZE[1]}
    categories = [{"id": 1, "name": "crack"}]
    return {"images": list(images) or [one], "annotations": list(annotations), "categories": categories} | changed


def coco_box(**changed: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], "iscrowd": 0} | changed


def voc(filename: str = "1.png", *objects: str, size: tuple[int, int] = SIZE) -> str:
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>{filename}</filename>{sides}{''.join(objects)}</annotation>"


def voc_object(name: str = "<name>crack</name>", **changed: Any) -> str:
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in (VOC_BOX | changed).items())
    return f"<object>{name}<bndbox>{corners}</bndbox></object>"
