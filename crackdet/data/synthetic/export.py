"""Writes synthetic photographs with masks and with boxes in the formats of annotation tools."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from crackdet.core.files import atomic_write, write_json, write_text
from crackdet.data.synthetic.photographs import render_photograph

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are exclusive
CLASS_NAME = "crack"
QUALITY = 92  # of JPEG


@dataclass(frozen=True)
class Labelled:
    """A photograph that was written, and its boxes."""

    name: str  # of the file
    size: tuple[int, int]
    boxes: Sequence[Box]


def write_photographs(
    folder: Path, number: int, size: tuple[int, int], seed: int, difficulty: float, formats: Sequence[str]
) -> Iterator[Labelled]:
    """Write a data set into a new folder; yield each photograph when it is written, and then write the annotations.

    Args:
        size: Width and height in pixels.
        formats: Of `FORMATS`, besides "masks".
    """
    names = [f"wall_{index:04d}" for index in range(number)]
    for inner in ["images", *(["masks"] if "masks" in formats else [])]:
        (folder / inner).mkdir(parents=True, exist_ok=True)
    written = []
    for index, name in enumerate(names):
        photograph = render_photograph(index, seed=seed, size=size, difficulty=difficulty)
        with atomic_write(folder / "images" / f"{name}.jpg") as temporary:
            Image.fromarray(photograph.image).save(temporary, "JPEG", quality=QUALITY)
        if "masks" in formats:
            with atomic_write(folder / "masks" / f"{name}.png") as temporary:
                Image.fromarray(photograph.mask).save(temporary, "PNG")
        written.append(Labelled(f"{name}.jpg", size, photograph.boxes))
        yield written[-1]
    for format_name in formats:
        if format_name in FORMATS:
            FORMATS[format_name](folder, written)


def write_coco(folder: Path, photographs: Sequence[Labelled]) -> None:
    """Write `annotations.json` of COCO."""
    images = [
        {"id": number, "file_name": one.name, "width": one.size[0], "height": one.size[1]}
        for number, one in enumerate(photographs, 1)
    ]
    boxes = [(number, box) for number, one in enumerate(photographs, 1) for box in one.boxes]
    annotations = [
        {
            "id": annotation_id,
            "image_id": number,
            "category_id": 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }
        for annotation_id, (number, (left, top, right, bottom)) in enumerate(boxes, 1)
    ]
    categories = [{"id": 1, "name": CLASS_NAME}]
    write_json(folder / "annotations.json", {"images": images, "annotations": annotations, "categories": categories})


def write_yolo(folder: Path, photographs: Sequence[Labelled]) -> None:
    """Write `labels/*.txt` and `data.yaml` of YOLO; the splits are left to the user."""
    (folder / "labels").mkdir(exist_ok=True)
    for one in photographs:
        width, height = one.size
        lines = [
            f"0 {(left + right) / 2 / width:.6f} {(top + bottom) / 2 / height:.6f} "
            f"{(right - left) / width:.6f} {(bottom - top) / height:.6f}\n"
            for left, top, right, bottom in one.boxes
        ]
        write_text((folder / "labels" / one.name).with_suffix(".txt"), "".join(lines))
    comment = "# to train a detector of YOLO, add train: and val:, folders or lists of photographs\n"
    write_text(folder / "data.yaml", f"path: .\nnames:\n  0: {CLASS_NAME}\n{comment}")


def write_voc(folder: Path, photographs: Sequence[Labelled]) -> None:
    """Write `Annotations/*.xml` of Pascal VOC, whose pixels begin at 1."""
    (folder / "Annotations").mkdir(exist_ok=True)
    for one in photographs:
        root = ElementTree.Element("annotation")
        _add(root, folder="images", filename=one.name)
        _add(ElementTree.SubElement(root, "size"), width=one.size[0], height=one.size[1], depth=3)
        for left, top, right, bottom in one.boxes:
            item = ElementTree.SubElement(root, "object")
            _add(item, name=CLASS_NAME, difficult=0)
            _add(ElementTree.SubElement(item, "bndbox"), xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode") + "\n"
        write_text((folder / "Annotations" / one.name).with_suffix(".xml"), text)


def _add(element: ElementTree.Element, **texts: object) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(element, name).text = str(text)


FORMATS: dict[str, Callable[[Path, Sequence[Labelled]], None]] = {
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
}
