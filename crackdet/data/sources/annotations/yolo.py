"""YOLO: a text file for each photograph, with a line `class x y width height` for each box, relative to its size.

A line with more numbers is a polygon, as for segmentation and oriented boxes; its bounding box is taken. The names of
the classes, and the splits, are in `data.yaml` (https://docs.ultralytics.com/datasets/detect/).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from crackdet.core.reading import load_yaml
from crackdet.data.sources.annotations.base import BoxAnnotation, Collector, bounds, read_text, relative_name
from crackdet.data.sources.names import split_of

OUTSIDE = 1e-3  # that a relative coordinate may exceed 0 or 1 by, because of rounding
SPLITS = ("train", "val", "valid", "validation", "test")
NOT_LABELS = {"classes", "obj.names", "train", "val", "valid", "test", "requirements", "readme", "license", "notes"}


def load_description(path: Path) -> dict[str, Any] | None:
    """Return the content of `data.yaml`; None if a YAML file is none."""
    try:
        content = load_yaml(path)
    except (OSError, ValueError):
        return None
    return content if "names" in content and any(split in content for split in (*SPLITS, "path")) else None


def label_path(image: str) -> str:
    """Return the label file of a photograph by Ultralytics' rule: the last `images` of its path becomes `labels`."""
    parts = list(PurePosixPath(image).with_suffix(".txt").parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == "images":
            parts[index] = "labels"
            break
    return "/".join(parts)


def read(labels: Sequence[str], yaml: Path | None, root: Path, collect: Collector) -> None:
    """Read label files.

    Args:
        labels: Their paths relative to the root.
        yaml: `data.yaml`, if there is one.
    """
    description = (load_description(yaml) if yaml else None) or {}
    names = _class_names(description.get("names"), labels, root)
    splits = _Splits(description, yaml.parent if yaml else root, root, collect) if yaml else None
    by_label: dict[str, str] = {}
    for image in collect.finder.images.values():
        by_label.setdefault(label_path(image).casefold(), image)
        # images/train/7.jpg has labels/train/7.txt, or a text file beside it
        by_label.setdefault(PurePosixPath(image).with_suffix(".txt").as_posix().casefold(), image)
    seen: set[str] = set()
    for label in labels:
        if (image := by_label.get(label.casefold())) is None:
            try:
                image = _find_by_stem(label, collect)
            except ValueError as error:
                collect.problem(label, str(error))
                continue
        try:
            lines = read_text(root / label).splitlines()
        except ValueError as error:
            collect.problem(label, str(error), image)
            continue
        boxes = [
            box
            for number, line in enumerate(lines, 1)
            if line.strip() and (box := _box(line, f"{label}:{number}", image, names, collect, seen))
        ]
        collect.add(image, boxes, splits.of(image) if splits else None, label)
    collect.result.class_names += list(names.values()) or sorted(seen)


def _box(
    line: str, where: str, image: str, names: Mapping[int, str], collect: Collector, seen: set[str]
) -> BoxAnnotation | None:
    try:
        number, *values = (float(word) for word in line.split())
    except ValueError:
        collect.problem(where, f"must be numbers: class x y width height, not {line.strip()[:60]!r}", image)
        return None
    if not number.is_integer():
        collect.problem(where, f"the class {number:g} is no whole number", image)
        return None
    if names and int(number) not in names:
        collect.problem(where, f"there is no class {int(number)}; the classes are 0 to {max(names)}", image)
        return None
    if len(values) == 4:
        x, y, width, height = values
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(values) >= 6 and len(values) % 2 == 0:
        corners = bounds(values)
    else:
        collect.problem(
            where, f"has {len(values)} numbers after the class; a box has 4, a polygon an even number", image
        )
        return None
    if not all(-OUTSIDE <= value <= 1 + OUTSIDE for value in (*values, *corners)):
        collect.problem(
            where, f"coordinates are shares of the photograph, from 0 to 1, not {line.strip()[:60]!r}", image
        )
        return None
    name = names.get(int(number), str(int(number)))
    seen.add(name)
    size = collect.sizes(image)
    if size is None:
        return None  # the photograph itself is a problem
    scaled = [value * side for value, side in zip(corners, size * 2, strict=True)]
    # whole pixels again, if the file was written from whole pixels: six decimals are a fraction of a pixel
    return collect.box(where, image, [round(v) if abs(v - round(v)) < 0.01 else v for v in scaled], name)


def _class_names(names: Any, labels: Iterable[str], root: Path) -> dict[int, str]:
    """Return the names of the classes in `data.yaml`, or in `classes.txt` beside or above the labels."""
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict):
        return {int(number): str(name) for number, name in names.items() if str(number).isdigit()}
    folders = {root, *(folder for label in labels for folder in list((root / label).parents)[:2])}
    for folder in sorted(folders):
        if (file := folder / "classes.txt").is_file():
            return {number: line.strip() for number, line in enumerate(read_text(file).splitlines()) if line.strip()}
    return {}


def _find_by_stem(label: str, collect: Collector) -> str:
    stem = PurePosixPath(label).stem.casefold()
    same = [image for image in collect.finder.images.values() if PurePosixPath(image).stem.casefold() == stem]
    if len(same) == 1:
        return same[0]
    raise ValueError("belongs to no photograph" if not same else f"may belong to each of {', '.join(sorted(same)[:3])}")


class _Splits:
    """The splits of `data.yaml`: folders, or text files with the paths of photographs."""

    def __init__(self, description: Mapping[str, Any], folder: Path, root: Path, collect: Collector) -> None:
        self.folders: dict[str, str] = {}
        self.images: dict[str, str] = {}
        base = folder / str(description.get("path") or "")
        for key in SPLITS:
            values = description.get(key)
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str) and (split := split_of(key)):
                    self._add(value, split, [base, folder, root], root, collect)

    def _add(self, value: str, split: str, bases: Sequence[Path], root: Path, collect: Collector) -> None:
        text = value.replace("\\", "/")
        inside = text.lstrip("./")  # Roboflow writes ../train/images for a folder beside the file
        for path in (*(base / text for base in bases), *(base / inside for base in bases)):
            if path.is_dir() and path.resolve().is_relative_to(root.resolve()):
                self.folders[path.resolve().relative_to(root.resolve()).as_posix()] = split
                return
            if path.is_file() and path.suffix == ".txt":
                for line in filter(str.strip, read_text(path).splitlines()):
                    try:
                        self.images[collect.finder.find(line, path.parent)] = split
                    except ValueError as error:
                        collect.problem(relative_name(path, root), str(error))
                return
        collect.problem("data.yaml", f"the {split} split is {value}, but there is no such folder or list in {root}")

    def of(self, image: str) -> str | None:
        if image in self.images:
            return self.images[image]
        parents = [folder for folder in self.folders if folder == "." or f"{image}/".startswith(f"{folder}/")]
        return self.folders[max(parents, key=len)] if parents else None
