"""What the readers of annotations share: boxes, photographs, and the list of what is wrong."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from crackdet.core.reading import MIB, open_regular
from crackdet.core.text import list_first
from crackdet.data.sources.photographs import split_in_path

MAX_BYTES = 512 * MIB  # of an annotation file
TOLERANCE = 2.0  # pixels that a box may exceed its photograph by, because of rounding

Sizes = Callable[[str], tuple[int, int] | None]  # the upright width and height of a photograph; None: unreadable


class BoxAnnotation(NamedTuple):
    """A box in pixels of the upright photograph; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float
    class_name: str


class AnnotatedPhotograph(NamedTuple):
    path: str  # relative to the root
    boxes: tuple[BoxAnnotation, ...]
    split: str | None


@dataclass
class Annotations:
    """What a reader has found, and a line for each annotation that cannot be used."""

    format: str
    photographs: list[AnnotatedPhotograph] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)  # photographs that have such an annotation; none is in the list


class ImageFinder:
    """Finds the photograph that an annotation names.

    Args:
        images: Paths of all photographs relative to the root.
    """

    def __init__(self, root: Path, images: Iterable[str]) -> None:
        self.root = root
        self.images = {name.casefold(): name for name in images}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self.images.values():
            self._by_name[PurePosixPath(name).name.casefold()].append(name)

    def find(self, text: str, folder: Path, split: str | None = None) -> str:
        """Return the path of a photograph relative to the root.

        Args:
            text: The path or name in the annotation.
            folder: The folder of the annotation file.
            split: The split of the annotation file; it decides between photographs of one name.

        Raises:
            ValueError: If there is no such photograph, or several of this name.
        """
        wanted = PurePosixPath(text.strip().replace("\\", "/"))
        inside = _relative(folder, self.root)
        for parent in (PurePosixPath(), inside, inside / "images", inside.parent / "images", PurePosixPath("images")):
            if (found := self.images.get(_normal(parent / wanted).casefold())) is not None and split in (
                None,
                split_in_path(found) or split,
            ):
                return found
        same = self._by_name.get(wanted.name.casefold(), [])
        if len(same) > 1:
            same = [name for name in same if split is not None and split_in_path(name) == split] or same
        if len(same) == 1:
            return same[0]
        if same:
            raise ValueError(f"{text} may be each of {list_first(sorted(same), 3)}")
        raise ValueError(f"{text}: there is no such photograph")


class Collector:
    """Collects the photographs of a data set and what is wrong with their annotations."""

    def __init__(self, format_name: str, finder: ImageFinder, sizes: Sizes) -> None:
        self.result = Annotations(format_name)
        self.finder = finder
        self.sizes = sizes
        self._sources: dict[str, str] = {}  # photograph -> where it is annotated

    def problem(self, where: str, text: str, photograph: str | None = None) -> None:
        """Add a problem; its photograph is left out as a whole, because a box may be missing."""
        self.result.problems.append(f"{where}: {text}")
        if photograph is not None:
            self.result.damaged.add(photograph)

    def finish(self) -> Annotations:
        """Return what was found, without the photographs of bad annotations."""
        found = self.result
        found.photographs = [one for one in found.photographs if one.path not in found.damaged]
        return found

    def add(self, path: str, boxes: Sequence[BoxAnnotation], split: str | None, where: str) -> None:
        """Add the boxes of a photograph; a photograph that is annotated twice is a problem."""
        if path in self._sources:
            first = self._sources[path]
            self.problem(where, f"{path} is annotated twice{f', first in {first}' if first != where else ''}", path)
            return
        self._sources[path] = where
        self.result.photographs.append(AnnotatedPhotograph(path, tuple(boxes), split))

    def check_size(self, where: str, path: str, stated: tuple[Any, Any]) -> None:
        """Add a problem if an annotation states another size than that of the upright photograph."""
        size = self.sizes(path)
        if size is None or stated in (size, (None, None), (0, 0)):
            return
        hint = ""
        if stated == size[::-1]:
            hint = "; the photograph was annotated before it was turned upright, so its boxes lie elsewhere"
        shown = "x".join(map(str, stated))
        self.problem(where, f"states {shown} pixels, but {path} has {size[0]}x{size[1]}{hint}", path)

    def box(self, where: str, path: str, corners: Sequence[float], class_name: str) -> BoxAnnotation | None:
        """Return a box clipped to its photograph; None, and a problem, if it has no area or exceeds the photograph."""
        left, top, right, bottom = corners
        shown = ", ".join(f"{value:.6g}" for value in corners)
        if not all(map(math.isfinite, corners)) or right <= left or bottom <= top:
            self.problem(where, f"the box from {shown} has no area", path)
            return None
        if (size := self.sizes(path)) is None:
            return BoxAnnotation(left, top, right, bottom, class_name)
        width, height = size
        clipped = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        exceeds = max(abs(a - b) for a, b in zip(clipped, corners, strict=True))
        if exceeds > TOLERANCE or clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
            self.problem(where, f"the box from {shown} is not inside {path} of {width}x{height} pixels", path)
            return None
        return BoxAnnotation(*map(float, clipped), class_name)


def read_text(path: Path) -> str:
    """Return the text of an annotation file.

    Raises:
        ValueError: If it cannot be read, is empty, or is no UTF-8.
    """
    try:
        with open_regular(path, MAX_BYTES, follow_links=True) as file:
            content = file.read()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def bounds(points: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the bounding box of a polygon given as x, y, x, y, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def relative_name(path: Path, root: Path) -> str:
    """Return the path of a file relative to the root, for messages."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _relative(folder: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(folder.relative_to(root).as_posix()) if folder.is_relative_to(root) else PurePosixPath()


def _normal(path: PurePosixPath) -> str:
    """Return a path without `.` and `..`."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
