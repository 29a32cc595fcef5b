"""COCO: one JSON file with `images`, `annotations` and `categories`, or one for each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from crackdet.data.sources.annotations.base import Collector, Corners, Draft, bounds, is_number, stated_size
from crackdet.data.sources.annotations.rle import rle_bounds
from crackdet.data.sources.photographs import split_in_path

NAME = "COCO"
CROWD = (
    "is a crowd (iscrowd=1), a region in which each crack is not marked; if it marks one crack, as masks of CVAT do, "
    "set iscrowd to 0"
)


def is_coco(content: Any) -> bool:
    """Return whether a JSON value can be a COCO file."""
    return isinstance(content, dict) and isinstance(content.get("images"), list) and "annotations" in content


def split_of_file(path: PurePosixPath) -> str | None:
    """Return the split in the name of a COCO file or of its folder: `instances_val2017.json`, `train/_annotations`."""
    words = path.stem.replace(".", "_")
    for prefix in ("instances_", "_annotations_", "annotations_"):
        words = words.removeprefix(prefix)
    return split_in_path(f"{words}/x") or split_in_path(str(path))


def read(files: Sequence[tuple[Path, Any]], collect: Collector) -> None:
    """Read COCO files, given with their content; each category is a class."""
    for path, content in files:
        name, folder = collect.name(path), collect.folder(path)
        if is_coco(content):
            _File(content, name, folder, split_of_file(folder / path.name), collect).read()
        else:
            collect.damaged_file(path, "is not a COCO file: it needs lists named images, annotations and categories")


class _File:
    """One COCO file."""

    def __init__(
        self, content: Mapping[str, Any], name: str, folder: PurePosixPath, split: str | None, collect: Collector
    ) -> None:
        self.content, self.name, self.folder, self.split, self.collect = content, name, folder, split, collect
        self.drafts: dict[str, Draft] = {}  # by the id of the image
        self.classes: dict[str, str] = {}

    def read(self) -> None:
        for category_id, where, category in self._entries("categories", "category"):
            class_name = category.get("name")
            if category_id in self.classes:
                self.collect.problem(where, f"several categories have the id {category_id}")
            elif not isinstance(class_name, str) or not class_name.strip():
                self.collect.problem(where, "has no name")
            else:
                self.classes[category_id] = class_name.strip()
        self.collect.class_names |= dict.fromkeys(self.classes.values())
        images: set[str] = set()
        for image_id, where, image in self._entries("images", "image"):
            if image_id in images:
                first = self.drafts.get(image_id)
                self.collect.problem(where, f"several images have the id {image_id}", first.path if first else None)
            else:
                images.add(image_id)
                self._add_image(image_id, where, image)
        self._read_annotations(images)

    def _add_image(self, image_id: str, where: str, image: Mapping[str, Any]) -> None:
        text = image.get("file_name")
        if not isinstance(text, str):
            self.collect.problem(where, "has no file_name")
            return
        try:
            path = self.collect.finder.find(text, self.folder, self.split)
        except ValueError as error:
            self.collect.problem(where, str(error))
            return
        self.drafts[image_id] = self.collect.start(path, where, self.split)
        self.drafts[image_id].check_size(stated_size(image.get("width"), image.get("height")))

    def _read_annotations(self, images: set[str]) -> None:
        seen: set[str] = set()
        for annotation_id, where, annotation in self._entries("annotations", "annotation", needs_id=False):
            image_id, category_id = str(annotation.get("image_id")), str(annotation.get("category_id"))
            draft = self.drafts.get(image_id)
            path = draft.path if draft else None
            if annotation_id in seen:
                self.collect.problem(where, f"several annotations have the id {annotation_id}", path)
            seen.add(annotation_id)
            if image_id not in images:
                self.collect.problem(where, f"there is no image {image_id}")
            elif category_id not in self.classes:
                self.collect.problem(where, f"there is no category {category_id}", path)
            elif annotation.get("iscrowd"):
                self.collect.problem(where, CROWD, path)
            elif draft is not None:
                try:
                    draft.add_box(where, _corners(annotation), self.classes[category_id])
                except ValueError as error:
                    draft.problem(where, str(error))

    def _entries(self, key: str, kind: str, needs_id: bool = True) -> list[tuple[str, str, dict[str, Any]]]:
        """Return id, name for messages, and content of the objects in a list; other things are problems."""
        items = self.content.get(key)
        if not isinstance(items, list):
            self.collect.problem(self.name, f"the list named {key} is missing")
            return []
        entries = []
        for number, item in enumerate(items, 1):
            item_id = item.get("id") if isinstance(item, dict) else None
            if not isinstance(item, dict):
                self.collect.problem(f"{self.name}: {key}, entry {number}", "is not an object")
            elif item_id is None and needs_id:
                self.collect.problem(f"{self.name}: {key}, entry {number}", "has no id")
            else:  # some tools write numbers as text
                text = str(item_id) if item_id is not None else f"number {number}"
                entries.append((text, f"{self.name}: {kind} {text}", item))
        return entries


def _corners(annotation: Mapping[str, Any]) -> Corners:
    """Return left, top, right and bottom of `bbox`, or else of the segmentation.

    Raises:
        ValueError: If there is neither.
    """
    bbox, segmentation = annotation.get("bbox"), annotation.get("segmentation")
    if bbox:
        if not _are_numbers(bbox) or len(bbox) != 4:
            raise ValueError(f"bbox must be four finite numbers: left, top, width, height, not {str(bbox)[:60]}")
        left, top, width, height = bbox
        return left, top, left + width, top + height
    if isinstance(segmentation, dict):
        return rle_bounds(segmentation)
    parts = segmentation if isinstance(segmentation, list) else []
    if not parts or not all(_are_numbers(part) and len(part) >= 6 and len(part) % 2 == 0 for part in parts):
        raise ValueError("has neither a bbox nor polygons")
    return bounds([value for part in parts for value in part])


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(map(is_number, values))
