"""The splits of YOLO's `data.yaml`: folders, or text files that list photographs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from crackdet.data.sources.annotations.base import Collector
from crackdet.data.sources.annotations.files import read_text
from crackdet.data.sources.names import split_of

KEYS = ("train", "val", "valid", "validation", "test")


def read_splits(content: Mapping[str, Any], file: Path, collect: Collector) -> dict[str, str]:
    """Return the split of each photograph; a photograph in several splits is a problem.

    Args:
        content: That of `data.yaml`, which may have no splits.
        file: Its path.
    """
    name = collect.name(file)
    found: dict[str, str] = {}
    shared: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key in KEYS:
        split, values = split_of(key), content.get(key)
        for value in values if isinstance(values, list) else [values]:
            if value in (None, "") or split is None:
                continue
            if not isinstance(value, str):
                collect.problem(name, f"{key} must be a folder or a list of folders, not {str(value)[:40]}")
                continue
            for image in _images(value, f"{name}: {key}", content.get("path"), file.parent, collect):
                if (other := found.setdefault(image, split)) != split:
                    shared[other, split].add(image)
    for (first, second), images in shared.items():
        collect.problem(name, f"{first} and {second} share {len(images)} photographs, such as {min(images)}")
        collect.damaged |= images
    return found


def _images(value: str, where: str, base: Any, folder: Path, collect: Collector) -> Iterator[str]:
    path = _resolve(value, base if isinstance(base, str) else "", folder)
    if path is None or not path.resolve().is_relative_to(collect.root.resolve()):
        reason = "there is no such folder or list" if path is None else "is outside"
        collect.problem(
            where, f"{value}: {reason} in {collect.root}" if path is None else f"{value}: {reason} data.root"
        )
    elif path.is_dir():
        inside = path.resolve().relative_to(collect.root.resolve()).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        yield from (image for image in collect.finder.images if image.startswith(prefix))
    else:
        yield from _listed(path, collect)


def _listed(path: Path, collect: Collector) -> Iterator[str]:
    name = collect.name(path)
    try:
        lines = read_text(path).splitlines()
    except ValueError as error:
        collect.problem(name, str(error))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield collect.finder.find(line, collect.folder(path))
            except ValueError as error:
                collect.problem(f"{name}:{number}", str(error))


def _resolve(value: str, base: str, folder: Path) -> Path | None:
    """Return the folder or list that `data.yaml` names; it may name one of the machine on which it was written."""
    text, base = value.replace("\\", "/"), base.replace("\\", "/")
    parts = [part for part in PurePosixPath(text).parts if part not in ("..", ".", "/")]
    suffixes = ["/".join(parts[start:]) for start in range(len(parts))]
    # Roboflow writes ../train/images for a folder beside the file
    candidates = [folder / base / text, folder / text, *(folder / suffix for suffix in suffixes)]
    return next((path for path in candidates if path.is_dir() or (path.is_file() and path.suffix == ".txt")), None)
