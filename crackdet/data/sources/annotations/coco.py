"""COCO: one JSON file with `images`, `annotations` and `categories`, or one for each split."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crackdet.data.sources.annotations.base import BoxAnnotation, Collector, bounds, read_text, relative_name
from crackdet.data.sources.photographs import split_in_path


def is_coco(content: Any) -> bool:
    """Return whether a JSON value can be a COCO file."""
    return isinstance(content, dict) and isinstance(content.get("images"), list) and "annotations" in content


def load(path: Path) -> Any:
    """Return the content of a JSON file; raise ValueError if it is not JSON."""
    text = read_text(path)
    if not text.strip():
        raise ValueError("is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid JSON ({error})") from None


def split_of_file(path: Path, root: Path) -> str | None:
    """Return the split in the name of a COCO file or of its folder: `instances_val2017.json`, `train/_annotations`."""
    name = relative_name(path, root).removesuffix(".json")
    return split_in_path(f"{name.replace('instances_', '').replace('.', '_')}/x") or split_in_path(name)


def read(paths: Sequence[Path], root: Path, collect: Collector) -> None:
    """Read COCO files; each category is a class."""
    for path in paths:
        name = relative_name(path, root)
        try:
            content = load(path)
        except ValueError as error:
            collect.problem(name, str(error))
            continue
        if not is_coco(content):
            collect.problem(name, "is not a COCO file: it needs lists named images, annotations and categories")
            continue
        _read_file(content, name, path.parent, split_of_file(path, root), collect)


def _read_file(content: Mapping[str, Any], name: str, folder: Path, split: str | None, collect: Collector) -> None:
    classes = _by_id(content.get("categories"), f"{name}: category", collect)
    images = _by_id(content["images"], f"{name}: image", collect)
    paths: dict[Any, str] = {}
    for image_id, image in images.items():
        where = f"{name}: image {image_id}"
        try:
            paths[image_id] = collect.finder.find(str(image.get("file_name") or "without file_name"), folder, split)
        except ValueError as error:
            collect.problem(where, str(error))
            continue
        collect.check_size(where, paths[image_id], (image.get("width"), image.get("height")))
    boxes: dict[Any, list[BoxAnnotation]] = defaultdict(list)
    for annotation_id, annotation in _by_id(content["annotations"], f"{name}: annotation", collect).items():
        where = f"{name}: annotation {annotation_id}"
        image_id, category = annotation.get("image_id"), classes.get(_key(annotation.get("category_id")))
        if _key(image_id) not in images:
            collect.problem(where, f"there is no image {image_id}")
        elif category is None:
            collect.problem(where, f"there is no category {annotation.get('category_id')}", paths.get(_key(image_id)))
        elif not annotation.get("iscrowd") and (path := paths.get(_key(image_id))) is not None:
            try:
                left, top, right, bottom = _corners(annotation)
            except ValueError as error:
                collect.problem(where, str(error), path)
                continue
            if box := collect.box(where, path, (left, top, right, bottom), str(category.get("name", ""))):
                boxes[_key(image_id)].append(box)
    for image_id, path in paths.items():
        collect.add(path, boxes[image_id], split, f"{name}: image {image_id}")
    collect.result.class_names += [str(category.get("name", "")) for category in classes.values()]


def _by_id(items: Any, where: str, collect: Collector) -> dict[Any, dict[str, Any]]:
    """Return objects by their id; what is no object, or has the id of another, is a problem."""
    found: dict[Any, dict[str, Any]] = {}
    if not isinstance(items, list):
        collect.problem(where, "the list is missing")
        return found
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or item.get("id") is None:
            collect.problem(where, f"number {number} of the list has no id")
        elif _key(item["id"]) in found:
            collect.problem(where, f"several have the id {item['id']}")
        else:
            found[_key(item["id"])] = item
    return found


def _key(value: Any) -> Any:
    """Return an id as it is compared: some tools write numbers as text."""
    return str(value)


def _corners(annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of `bbox`, or else of the polygons.

    Raises:
        ValueError: If there is neither.
    """
    bbox, polygons = annotation.get("bbox"), annotation.get("segmentation")
    if bbox:
        if not _are_numbers(bbox) or len(bbox) != 4:
            raise ValueError(f"bbox must be four numbers: left, top, width and height, not {str(bbox)[:60]}")
        left, top, width, height = bbox
        return left, top, left + width, top + height
    if isinstance(polygons, dict):
        raise ValueError("has no bbox, and its segmentation is run-length encoded (RLE), which is not read; add a bbox")
    parts = polygons if isinstance(polygons, list) else []
    if not parts or not all(_are_numbers(part) and len(part) >= 6 and len(part) % 2 == 0 for part in parts):
        raise ValueError("has neither a bbox nor polygons")
    return bounds([value for part in parts for value in part])


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)
