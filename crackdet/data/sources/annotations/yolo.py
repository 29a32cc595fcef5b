"""YOLO: a text file for each photograph, with a line for each box: class, centre x, centre y, width, height.

All are shares of the photograph. More numbers are a polygon, as of segmentation and oriented boxes; its bounding box is
taken. The names of the classes, and the splits, are in `data.yaml` (https://docs.ultralytics.com/datasets/detect/).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crackdet.data.sources.annotations.base import Collector, Corners, Draft, bounds
from crackdet.data.sources.annotations.files import load_yaml, read_text
from crackdet.data.sources.annotations.yolo_splits import KEYS, read_splits

NAME = "YOLO"
NAME_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")  # of other tools that write YOLO's labels
NOT_LABELS = {"train", "val", "valid", "test", "requirements", "readme", "license", "notes"}


def is_description(content: Any) -> bool:
    """Return whether the content of a YAML file is that of `data.yaml`."""
    return isinstance(content, dict) and "names" in content and any(key in content for key in (*KEYS, "path", "nc"))


def is_label(path: Path, has_stem: Callable[[str], bool]) -> bool:
    """Return whether a text file has the labels of a photograph."""
    if path.suffix.lower() != ".txt" or path.name.lower() in NAME_FILES:
        return False
    in_labels = "labels" in [part.lower() for part in path.parts[-3:-1]]  # labels/7.txt, or labels/train/7.txt
    return has_stem(path.stem) or (in_labels and path.stem.lower() not in NOT_LABELS)


def read(labels: Sequence[Path], description: Path | None, collect: Collector) -> None:
    """Read label files; `description` is `data.yaml`, if there is one."""
    content = _load_description(description, collect) if description else {}
    names = _class_names(content["names"]) if "names" in content else _read_names(labels, collect)
    if names is None:
        collect.problem(collect.name(description or labels[0]), "names must be a list, or names by whole numbers")
        names = {}
    elif names and isinstance(content.get("nc"), int) and content["nc"] != len(names) and description:
        collect.problem(collect.name(description), f"nc is {content['nc']}, but there are {len(names)} names")
    collect.class_names |= dict.fromkeys(names.values())
    splits = read_splits(content, description, collect) if description else {}
    has_keypoints = "kpt_shape" in content
    outside: list[Draft] = []
    for path in labels:
        name, folder = collect.name(path), collect.folder(path)
        try:
            image = collect.finder.find_beside(folder / path.name)
            text = read_text(path)
        except ValueError as error:
            if collect.finder.has_stem(path.stem):
                collect.damaged_file(path, str(error))
            else:
                collect.problem(name, str(error))
            continue
        draft = collect.start(image, name, splits.get(image))
        if splits and image not in splits:
            outside.append(draft)
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                _add_line(line, f"{name}:{number}", names, has_keypoints, draft)
    if outside and description:
        text = f"{len(outside)} annotated photographs are in none of the splits, such as {outside[0].path}"
        collect.problem(collect.name(description), text)
        collect.damaged |= {draft.path for draft in outside}


def _add_line(line: str, where: str, names: Mapping[int, str], has_keypoints: bool, draft: Draft) -> None:
    shown = line.strip()[:60]
    try:
        number, *values = (float(word) for word in line.split())
    except ValueError:
        draft.problem(where, f"must be numbers: class x y width height, not {shown!r}")
        return
    if not number.is_integer() or (names and int(number) not in names) or number < 0:
        known = f"; data.yaml names {min(names)} to {max(names)}" if names else ""
        draft.problem(where, f"there is no class {number:g}{known}")
        return
    if has_keypoints:
        values = values[:4]
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        hint = "; the last one may be the confidence of a prediction" if len(values) == 5 else ""
        draft.problem(where, f"has {len(values)} numbers after the class; a box has 4, a polygon x, y, x, y, ...{hint}")
        return
    slack = 1e-3 if draft.size is None else 2 / min(draft.size)  # the edges are checked when they are in pixels
    if not all(-slack <= value <= 1 + slack for value in values):  # not so of NaN either
        draft.problem(where, f"coordinates are shares of the photograph, from 0 to 1, not {shown!r}")
        return
    if draft.size is not None:
        scaled = [value * side for value, side in zip(_corners(values), draft.size * 2, strict=True)]
        draft.add_box(where, scaled, names.get(int(number), str(int(number))))


def _corners(values: Sequence[float]) -> Corners:
    if len(values) > 4:
        return bounds(values)
    x, y, width, height = values
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _load_description(path: Path, collect: Collector) -> dict[str, Any]:
    try:
        content = load_yaml(path)
    except ValueError as error:
        collect.problem(collect.name(path), str(error))
        return {}
    if not is_description(content):
        collect.problem(collect.name(path), "is not a description of YOLO data: it needs names, train and val")
        return {}
    return dict(content)


def _class_names(names: Any) -> dict[int, str] | None:
    """Return the names of `data.yaml` by class; None if they are none."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(str(number).isdecimal() for number in names):
        return None
    return {int(number): str(name).strip() for number, name in names.items()}


def _read_names(labels: Iterable[Path], collect: Collector) -> dict[int, str]:
    """Return the names in `classes.txt` beside or above the labels; none if there is no such file."""
    folders = {collect.root, *(folder for path in labels for folder in list(path.parents)[:2])}
    for folder in sorted(folders):
        for file in (folder / name for name in NAME_FILES):
            if file.is_file():
                try:
                    lines = read_text(file).splitlines()
                except ValueError as error:
                    collect.problem(collect.name(file), str(error))
                    continue
                collect.name(file)
                return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return {}
