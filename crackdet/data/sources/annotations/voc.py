"""Pascal VOC: an XML file for each photograph; the splits are lists in `ImageSets/Main`.

The pixels of Pascal VOC are counted from 1 and its edges are inclusive, so `xmin=1, xmax=W` is the whole width: left is
`xmin - 1` and right is `xmax`, as in Detectron2 (`detectron2/data/datasets/pascal_voc.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from crackdet.data.sources.annotations.base import Collector, Draft, stated_size
from crackdet.data.sources.annotations.files import read_text
from crackdet.data.sources.names import split_of

NAME = "Pascal VOC"
IMAGE_SETS = ("ImageSets/Main", "ImageSets")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def is_voc(root: Element) -> bool:
    return root.tag == "annotation"


def read(files: Sequence[tuple[Path, Any]], collect: Collector) -> None:
    """Read XML files, given with their root element."""
    splits = _read_splits([path for path, _ in files], collect)
    drafts: dict[str, Draft] = {}  # by the name of the file without extension
    for path, root in files:
        name = collect.name(path)
        if not is_voc(root):
            collect.damaged_file(path, f"is not an annotation of Pascal VOC: its root is <{root.tag[:40]}>")
            continue
        try:
            image = _find_image(root, path, collect)
        except ValueError as error:
            collect.problem(name, str(error))
            continue
        draft = drafts[path.stem] = collect.start(image, name, splits.get(path.stem))
        draft.check_size(stated_size(_number(root, "size/width"), _number(root, "size/height")))
        for number, item in enumerate(root.findall("object"), 1):
            _add_object(item, f"{name}: object {number}", draft)
    if splits:
        _check_splits(splits, drafts, collect)


def _add_object(item: Element, where: str, draft: Draft) -> None:
    class_name = (item.findtext("name") or "").strip()
    corners = [number for key in CORNERS if (number := _number(item, f"bndbox/{key}")) is not None]
    if len(corners) != 4:
        draft.problem(where, "has no bndbox with the numbers xmin, ymin, xmax and ymax")
    elif not class_name:
        draft.problem(where, "has no name")
    else:
        left, top, right, bottom = corners
        draft.add_box(where, (left - 1, top - 1, right, bottom), class_name)


def _find_image(root: Element, path: Path, collect: Collector) -> str:
    """Return the photograph of an XML file: by the name of the file, or else by the name that the file states.

    Raises:
        ValueError: If there is no such photograph, or the two are different photographs.
    """
    folder, stated = collect.folder(path), (root.findtext("filename") or "").strip()
    by_stated: str | None = None
    error: ValueError | None = None
    if stated:
        try:
            by_stated = collect.finder.find(stated, folder)
        except ValueError as missing:
            error = missing
    try:
        by_name = collect.finder.find_beside(folder / path.name)
    except ValueError as missing:
        if by_stated is None:
            raise error or missing from None
        return by_stated
    if by_stated is not None and by_stated != by_name:
        collect.damaged |= {by_name, by_stated}
        raise ValueError(f"states the photograph {by_stated}, but has the name of {by_name}")
    return by_name


def _read_splits(files: Iterable[Path], collect: Collector) -> dict[str, str | None]:
    """Return the split of each name that `ImageSets/Main/{train,val,test}.txt` lists; None if it is in several."""
    splits: dict[str, str | None] = {}
    for path in _split_files(files, collect.root):
        split = split_of(path.stem)
        name = collect.name(path)
        try:
            lines = read_text(path).splitlines()
        except ValueError as error:
            collect.damaged_file(path, str(error))
            continue
        for number, line in enumerate(lines, 1):
            if (stem := line.strip()) and splits.setdefault(stem, split) != split:
                collect.problem(f"{name}:{number}", f"{stem} is in several splits")
                splits[stem] = None
    return splits


def _split_files(files: Iterable[Path], root: Path) -> Iterator[Path]:
    folders = {above for path in files for above in path.parents if above.is_relative_to(root)} or {root}
    for folder in sorted(folders):
        inner = next((folder / name for name in IMAGE_SETS if (folder / name).is_dir()), None)
        if inner is not None:
            yield from (path for path in sorted(inner.glob("*.txt")) if split_of(path.stem))


def _check_splits(splits: dict[str, str | None], drafts: dict[str, Draft], collect: Collector) -> None:
    for stem in sorted(splits.keys() - {path.stem for path in collect.files}):
        collect.problem("ImageSets", f"{stem} is in a split, but has no annotation")
    for stem, draft in drafts.items():
        if stem not in splits:
            draft.problem(draft.where, "is in none of the splits in ImageSets")
        elif splits[stem] is None:
            collect.damaged.add(draft.path)


def _number(item: Element, path: str) -> float | None:
    try:
        return float(item.findtext(path) or "")
    except ValueError:
        return None
