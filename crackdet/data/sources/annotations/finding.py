"""Finds the annotations of photographs, and reads them in their format."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first
from crackdet.data.sources.annotations import coco, voc, yolo
from crackdet.data.sources.annotations.base import Annotations, Collector, ImageFinder, Sizes, relative_name
from crackdet.data.sources.names import is_hidden

FORMATS = "COCO (.json), YOLO (labels/*.txt with data.yaml) or Pascal VOC (.xml)"


def read_annotations(root: Path, annotations: str | None, images: Sequence[str], sizes: Sizes) -> Annotations:
    """Return the boxes of the photographs below a root, in whichever format they are.

    Args:
        annotations: `data.annotations`: a file or folder relative to the root; None: found below the root.
        images: Paths of the photographs relative to the root.
        sizes: The upright size of a photograph by its path.

    Raises:
        UserError: If there are no annotations, or annotations in several formats or versions.
    """
    folder = root if annotations is None else root / expand_home(annotations)
    setting = f"data.root={root}" if annotations is None else f"data.annotations={annotations}"
    if not folder.exists():
        raise UserError(f"{setting}: there is no such file or folder in {root}")
    files = [folder] if folder.is_file() else _walk(folder)
    found = {name: paths for name, paths in _by_format(files, root, images).items() if paths}
    if not found:
        raise UserError(f"{setting}: holds no annotations in a known format: {FORMATS}")
    if len(found) > 1:
        names = ", ".join(f"{name} ({relative_name(paths[0], root)})" for name, paths in found.items())
        raise UserError(f"{setting}: holds annotations in several formats: {names}; choose one with data.annotations")
    ((name, paths),) = found.items()
    collect = Collector(name, ImageFinder(root, images), sizes)
    names = [relative_name(path, root) for path in paths]
    if name == "COCO":
        coco.read(_one_per_split(paths, root, setting), root, collect)
    elif name == "YOLO":
        yolo.read([text for text in names if text.endswith(".txt")], _one_yaml(files, root, setting), root, collect)
    else:
        voc.read(names, root, collect)
    return collect.finish()


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        found += [Path(path) / name for name in sorted(names) if not is_hidden(name)]
    return found


def _by_format(files: Sequence[Path], root: Path, images: Sequence[str]) -> dict[str, list[Path]]:
    """Return the annotation files of each format; a JSON file that was named, or that cannot be read, is COCO."""
    expected = {yolo.label_path(image).casefold() for image in images}
    beside = {path.with_suffix(".txt").as_posix().casefold() for path in map(Path, images)}
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        suffix, name = path.suffix.lower(), relative_name(path, root).casefold()
        if suffix == ".json":
            try:
                is_annotation = coco.is_coco(coco.load(path))
            except ValueError:
                is_annotation = True
            if is_annotation or len(files) == 1:
                found["COCO"].append(path)
        elif suffix == ".xml" and voc.is_voc(path):
            found["Pascal VOC"].append(path)
        elif (
            suffix == ".txt"
            and path.stem.lower() not in yolo.NOT_LABELS
            and ("labels" in name.split("/")[:-1] or name in expected or name in beside)
        ):
            found["YOLO"].append(path)
    return found


def _one_per_split(paths: Sequence[Path], root: Path, setting: str) -> list[Path]:
    """Return the COCO files: one, or one for each split.

    Raises:
        UserError: If there are several of one split.
    """
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for path in paths:
        by_split[coco.split_of_file(path, root)].append(path)
    for split, same in by_split.items():
        if len(same) > 1 and (named := [path for path in same if path.name.startswith("instances_")]):
            by_split[split] = same = named
        if len(same) > 1 or (split is None and len(by_split) > 1):
            names = list_first([relative_name(path, root) for path in paths], 6)
            raise UserError(f"{setting}: holds several COCO files: {names}; choose one with data.annotations")
    return [path for same in by_split.values() for path in same]


def _one_yaml(files: Sequence[Path], root: Path, setting: str) -> Path | None:
    """Return the `data.yaml` among the files, or in the root.

    Raises:
        UserError: If there are several.
    """
    candidates = [*files, *(path for path in root.iterdir() if path.is_file())]
    yamls = dict.fromkeys(path for path in candidates if path.suffix.lower() in (".yaml", ".yml"))
    found = [path for path in yamls if yolo.load_description(path) is not None]
    if len(found) > 1 and (named := [path for path in found if path.stem in ("data", "dataset")]):
        found = named
    if len(found) > 1:
        names = list_first([relative_name(path, root) for path in found], 6)
        raise UserError(f"{setting}: holds several descriptions of YOLO data: {names}; keep one of them")
    return found[0] if found else None
