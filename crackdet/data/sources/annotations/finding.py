"""Finds the annotations of photographs, and reads them in their format."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first
from crackdet.data.sources.annotations import coco, labelme, supervisely, voc, yolo
from crackdet.data.sources.annotations.base import Annotations, Collector, Sizes
from crackdet.data.sources.annotations.files import load_json, load_xml, load_yaml, relative_name, walk
from crackdet.data.sources.annotations.images import ImageFinder
from crackdet.data.sources.annotations.other_formats import other_json, other_xml

FORMATS = "COCO (.json), YOLO (labels/*.txt with data.yaml), Pascal VOC (.xml), LabelMe or Supervisely (.json)"
READERS = {reader.NAME: reader.read for reader in (coco, voc, labelme, supervisely)}
OF_JSON = {coco.NAME: coco.is_coco, labelme.NAME: labelme.is_labelme, supervisely.NAME: supervisely.is_supervisely}
SUFFIXES = {coco.NAME: ".json", labelme.NAME: ".json", supervisely.NAME: ".json", voc.NAME: ".xml"}


@dataclass
class Found:
    """Annotation files, by their format."""

    files: dict[str, list[tuple[Path, Any]]] = field(default_factory=lambda: defaultdict(list))  # with their content
    labels: list[Path] = field(default_factory=list)  # of YOLO
    descriptions: list[Path] = field(default_factory=list)  # `data.yaml` of YOLO
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    others: dict[str, Path] = field(default_factory=dict)  # formats that are known, but not read

    @property
    def formats(self) -> dict[str, Path]:
        """The formats, each with its first file."""
        first = {name: entries[0][0] for name, entries in self.files.items()}
        of_yolo = [*self.labels, *self.descriptions]
        return first | ({yolo.NAME: of_yolo[0]} if of_yolo else {})


def read_annotations(root: Path, annotations: str | None, images: Sequence[str], sizes: Sizes) -> Annotations:
    """Return the boxes of the photographs below a root, in whichever format they are.

    Args:
        annotations: `data.annotations`: a file or folder relative to the root; None: found below the root.
        images: Paths of the photographs relative to the root.
        sizes: The upright size of a photograph by its path.

    Raises:
        UserError: If there are no annotations, or annotations in several formats or versions.
    """
    given = root if annotations is None else Path(os.path.normpath(root / expand_home(annotations)))  # without ..
    setting = f"data.root={root}" if annotations is None else f"data.annotations={annotations}"
    if not given.exists():
        raise UserError(f"{setting}: there is no such file or folder in {root}")
    finder = ImageFinder(images)
    collect = Collector(root, finder, sizes)
    found = _find(given, root, finder)
    formats = found.formats
    if not formats and not found.unreadable:
        known = "; ".join(f"{relative_name(path, root)} is of {name}" for name, path in found.others.items())
        raise UserError(f"{setting}: holds no annotations in a format that is read: {FORMATS}{known and '; ' + known}")
    if len(formats) > 1:
        names = ", ".join(f"{name} ({relative_name(path, root)})" for name, path in formats.items())
        raise UserError(f"{setting}: holds annotations in several formats: {names}; choose one with data.annotations")
    name = next(iter(formats), coco.NAME)
    for path, reason in found.unreadable:
        if not formats or path.suffix.lower() == SUFFIXES.get(name):
            collect.damaged_file(path, reason)
    if name == yolo.NAME:
        yolo.read(found.labels, _one_description(found.descriptions, root, setting), collect)
    elif name == coco.NAME:
        coco.read(_one_per_split(found.files[name], collect, setting), collect)
    else:
        READERS[name](found.files[name], collect)
    return collect.finish(name)


def _find(given: Path, root: Path, finder: ImageFinder) -> Found:
    """Return the annotations in a file or folder."""
    found = Found()
    if given.is_dir():
        _sort(walk(given), finder, found)
    elif given.suffix.lower() in (".yaml", ".yml"):
        found.descriptions.append(given)  # even if it is damaged
    else:
        _sort([given], finder, found)
    if given != root and (found.labels or found.descriptions):
        everything = list(walk(root))
        if not found.labels:
            found.labels = [path for path in everything if yolo.is_label(path, finder.has_stem)]
        if not found.descriptions:
            found.descriptions = [path for path in everything if _is_description(path)]
    return found


def _sort(files: Iterable[Path], finder: ImageFinder, found: Found) -> None:
    for path in files:
        suffix = path.suffix.lower()
        try:
            if suffix == ".json":
                content = load_json(path)
                name = next((name for name, is_format in OF_JSON.items() if is_format(content)), None)
            elif suffix == ".xml":
                content = load_xml(path)
                name = voc.NAME if voc.is_voc(content) else None
            else:
                if _is_description(path):
                    found.descriptions.append(path)
                elif yolo.is_label(path, finder.has_stem):
                    found.labels.append(path)
                continue
        except ValueError as error:
            found.unreadable.append((path, str(error)))
            continue
        if name is not None:
            found.files[name].append((path, content))
        elif other := other_json(content) if suffix == ".json" else other_xml(content):
            found.others.setdefault(other, path)


def _is_description(path: Path) -> bool:
    try:
        return path.suffix.lower() in (".yaml", ".yml") and yolo.is_description(load_yaml(path))
    except ValueError:
        return path.stem.lower() == "data"


def _one_per_split(files: Sequence[tuple[Path, Any]], collect: Collector, setting: str) -> list[tuple[Path, Any]]:
    """Return the COCO files: one, or one for each split.

    Raises:
        UserError: If there are several of one split.
    """
    # COCO has captions and keypoints of the same photographs
    of_boxes = {path.parent for path, _ in files if path.name.startswith("instances_")}
    files = [entry for entry in files if entry[0].parent not in of_boxes or entry[0].name.startswith("instances_")]
    by_split: dict[str | None, list[tuple[Path, Any]]] = defaultdict(list)
    for path, content in files:
        by_split[coco.split_of_file(collect.folder(path) / path.name)].append((path, content))
    for split, same in by_split.items():
        if len(same) > 1 or (split is None and len(by_split) > 1):
            names = list_first([relative_name(path, collect.root) for path, _ in files], 6)
            raise UserError(f"{setting}: holds several COCO files: {names}; choose one with data.annotations")
    return [entry for same in by_split.values() for entry in same]


def _one_description(descriptions: Sequence[Path], root: Path, setting: str) -> Path | None:
    """Return `data.yaml`, if there is one.

    Raises:
        UserError: If there are several.
    """
    if len(descriptions) > 1:
        names = list_first([relative_name(path, root) for path in descriptions], 6)
        raise UserError(
            f"{setting}: holds several descriptions of YOLO data: {names}; choose one with data.annotations"
        )
    return next(iter(descriptions), None)
