"""Pascal VOC: an XML file for each photograph; the splits are lists in `ImageSets/Main`.

The edges of a box are taken as they are, as most tools write them; the original data set counts pixels from 1.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from crackdet.data.sources.annotations.base import BoxAnnotation, Collector, read_text
from crackdet.data.sources.names import split_of

IMAGE_SETS = ("ImageSets/Main", "ImageSets")


def read(files: Sequence[str], root: Path, collect: Collector) -> None:
    """Read XML files, given by their paths relative to the root."""
    splits = _read_splits(files, root)
    classes: dict[str, None] = {}
    for name in files:
        try:
            tree = _parse(root / name)
            image = _find_image(tree, name, root, collect)
        except ValueError as error:
            collect.problem(name, str(error))
            continue
        stated = (_integer(tree, "size/width"), _integer(tree, "size/height"))
        collect.check_size(name, image, stated)
        boxes: list[BoxAnnotation] = []
        for number, item in enumerate(tree.iter("object"), 1):
            where = f"{name}: object {number}"
            class_name = (item.findtext("name") or "").strip()
            try:
                corners = [float(item.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")]
            except ValueError:
                collect.problem(where, "has no bndbox with the numbers xmin, ymin, xmax and ymax", image)
                continue
            if not class_name:
                collect.problem(where, "has no name", image)
            elif box := collect.box(where, image, corners, class_name):
                boxes.append(box)
                classes[class_name] = None
        collect.add(image, boxes, splits.get(PurePosixPath(name).stem), name)
    collect.result.class_names += list(classes)


def is_voc(path: Path) -> bool:
    """Return whether an XML file is an annotation of Pascal VOC, or cannot be read."""
    try:
        return _parse(path).tag == "annotation"
    except ValueError:
        return True


def _parse(path: Path) -> ElementTree.Element:
    text = read_text(path)
    if not text.strip():
        raise ValueError("is empty")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("declares a document type or entities, which are not read")  # they may expand without end
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"is not valid XML ({error})") from None


def _find_image(tree: ElementTree.Element, name: str, root: Path, collect: Collector) -> str:
    """Return the photograph of an XML file: by the name that it states, or else by its own name."""
    stated = (tree.findtext("filename") or "").strip()
    folder = (root / name).parent
    for text in filter(None, (stated, f"{folder.parent.name}/{stated}" if stated else "")):
        try:
            return collect.finder.find(text, folder)
        except ValueError:
            continue
    stem = PurePosixPath(name).stem.casefold()
    same = [image for image in collect.finder.images.values() if PurePosixPath(image).stem.casefold() == stem]
    if len(same) == 1:
        return same[0]
    raise ValueError(f"{stated or PurePosixPath(name).stem}: there is no such photograph")


def _read_splits(files: Sequence[str], root: Path) -> dict[str, str]:
    """Return the split of each stem that `ImageSets/Main/{train,val,test}.txt` lists."""
    splits: dict[str, str] = {}
    for above in {folder for name in files for folder in (root / name).parents if folder.is_relative_to(root)}:
        for inner in IMAGE_SETS:
            if not (above / inner).is_dir():
                continue
            for file in sorted((above / inner).glob("*.txt")):
                if split := split_of(file.stem):
                    words = (line.split() for line in read_text(file).splitlines())
                    splits |= {line[0]: split for line in words if line and line[-1] != "-1"}
    return splits


def _integer(tree: ElementTree.Element, path: str) -> int | None:
    text = (tree.findtext(path) or "").strip()
    return int(text) if text.isdigit() else None
