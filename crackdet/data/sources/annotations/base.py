"""What the readers of annotations share: boxes, photographs, and the list of what is wrong."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from crackdet.data.decode import SWAPS_SIDES, BadImage, open_image, upright_transpose
from crackdet.data.sources.annotations.files import relative_name
from crackdet.data.sources.annotations.images import ImageFinder

TOLERANCE = 2.0  # pixels that a box may exceed its photograph by, because of rounding
WHOLE = 0.01  # pixels between a coordinate and the whole pixel that it stands for: YOLO rounds to six decimals

Sizes = Callable[[str], tuple[int, int] | None]  # the upright width and height of a photograph; None: unreadable
Corners = tuple[float, float, float, float]  # left, top, right, bottom


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
    source: str  # the file of the annotation, and its entry


@dataclass
class Annotations:
    """What a reader has found, and a line for each annotation that cannot be used."""

    format: str
    photographs: list[AnnotatedPhotograph] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)  # photographs that have such an annotation; none is in the list
    files: list[Path] = field(default_factory=list)  # all files that were read


class Draft:
    """A photograph whose boxes are being read."""

    def __init__(self, collect: "Collector", path: str, where: str, split: str | None) -> None:
        self.path, self.where, self.split = path, where, split
        self.size = collect.sizes(path)
        self.boxes: list[BoxAnnotation] = []
        self._collect = collect
        self._turned: Image.Transpose | None = None  # from the pixels of the file to the upright photograph

    def check_size(self, stated: tuple[int, int] | None) -> None:
        """Compare the size that the annotation states, if any, with that of the photograph.

        An annotation tool may ignore the EXIF orientation. If it has, the stated size is that of the pixels in the
        file, and the boxes are turned as the photograph is. Another size is a problem.
        """
        if stated is None or self.size in (None, stated):
            return
        assert self.size is not None
        if stated == self.size[::-1]:
            self._turned = _sideways(self._collect.root / self.path)
        if self._turned is None:
            (width, height), (right_width, right_height) = stated, self.size
            self.problem(
                self.where, f"states {width}x{height} pixels, but {self.path} has {right_width}x{right_height}"
            )

    def problem(self, where: str, text: str) -> None:
        """Add a problem; the photograph is left out as a whole, because a box may be missing."""
        self._collect.problem(where, text, self.path)

    def add_box(self, where: str, corners: Sequence[float], class_name: str) -> None:
        """Add a box, clipped to its photograph; a problem if it has no area, or exceeds the photograph."""
        shown = ", ".join(f"{value:.6g}" for value in corners)
        left, top, right, bottom = (_whole(value) for value in corners)
        if not all(map(math.isfinite, corners)):
            self.problem(where, f"the box {shown} has a coordinate that is not a finite number")
            return
        if right <= left or bottom <= top:
            self.problem(where, f"the box from {shown} has no area")
            return
        if self.size is None:
            return  # the photograph cannot be read, which is a problem of its own
        if self._turned is not None:
            left, top, right, bottom = _turn((left, top, right, bottom), self.size, self._turned)
        width, height = self.size
        clipped = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
        exceeds = max(abs(a - b) for a, b in zip(clipped, (left, top, right, bottom), strict=True))
        if exceeds > TOLERANCE or clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
            self.problem(where, f"the box from {shown} is not inside {self.path} of {width}x{height} pixels")
        elif (clipped[2] - clipped[0]) * (clipped[3] - clipped[1]) < 1:
            self.problem(where, f"the box from {shown} is smaller than a pixel")
        else:
            self.boxes.append(BoxAnnotation(*clipped, class_name))


class Collector:
    """Collects the photographs of a data set and what is wrong with their annotations."""

    def __init__(self, root: Path, finder: ImageFinder, sizes: Sizes, class_names: Sequence[str] = ()) -> None:
        self.root, self.finder, self.sizes = root, finder, sizes
        self.class_names = dict.fromkeys(class_names)
        self.problems: list[str] = []
        self.damaged: set[str] = set()
        self.files: dict[Path, None] = {}  # an ordered set
        self._drafts: dict[str, Draft] = {}
        self._unknown = False  # whether a file is damaged that may annotate any photograph

    def name(self, path: Path) -> str:
        """Return the name of a file for messages, and note that the file is read."""
        self.files[path] = None
        return relative_name(path, self.root)

    def folder(self, path: Path) -> PurePosixPath:
        """Return the folder of a file relative to the root; empty if it is outside."""
        inside = path.parent.is_relative_to(self.root)
        return PurePosixPath(path.parent.relative_to(self.root).as_posix() if inside else "")

    def problem(self, where: str, text: str, photograph: str | None = None) -> None:
        """Add a problem, and the photograph that is left out because of it."""
        self.problems.append(f"{where}: {text}")
        if photograph is not None:
            self.damaged.add(photograph)

    def damaged_file(self, path: Path, reason: str) -> None:
        """Add a problem of a whole file: it annotates the photograph of its name, or else perhaps any."""
        name = self.name(path)
        try:
            self.problem(name, reason, self.finder.find_beside(self.folder(path) / path.name))
        except ValueError:
            self.problem(name, reason)
            self._unknown = True

    def start(self, path: str, where: str, split: str | None) -> Draft:
        """Return a photograph to which boxes can be added; a photograph that is annotated twice is a problem."""
        draft = Draft(self, path, where, split)
        if (first := self._drafts.setdefault(path, draft)) is not draft:
            self.problem(where, f"{path} is annotated twice, first in {first.where}", path)
        return draft

    def finish(self, format_name: str) -> Annotations:
        """Return what was found, without the photographs of bad annotations."""
        for draft in self._drafts.values():
            self.class_names |= dict.fromkeys(box.class_name for box in draft.boxes)
        good = [draft for draft in self._drafts.values() if draft.path not in self.damaged]
        if self._unknown:
            self.damaged |= set(self.finder.images) - {draft.path for draft in good}
        photographs = [AnnotatedPhotograph(one.path, tuple(one.boxes), one.split, one.where) for one in good]
        return Annotations(
            format_name, photographs, list(self.class_names), self.problems, self.damaged, list(self.files)
        )


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


def bounds(points: Sequence[float]) -> Corners:
    """Return the bounding box of a polygon given as x, y, x, y, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def stated_size(width: object, height: object) -> tuple[int, int] | None:
    """Return the size that an annotation states; None if it states none, as tools do that write zeros."""
    if isinstance(width, (int, float)) and isinstance(height, (int, float)) and 0 < width < 1e9 and 0 < height < 1e9:
        return int(width), int(height)
    return None


def _whole(value: float) -> float:
    return float(round(value)) if math.isfinite(value) and abs(value - round(value)) < WHOLE else float(value)


def _sideways(photograph: Path) -> Image.Transpose | None:
    """Return how the EXIF orientation turns a photograph; None if its sides are not swapped."""
    try:
        with open_image(photograph) as image:
            transpose = upright_transpose(image)
    except BadImage:
        return None
    return transpose if transpose in SWAPS_SIDES else None


def _turn(corners: Corners, size: tuple[int, int], transpose: Image.Transpose) -> Corners:
    """Return a box in the upright photograph of this size, as `Image.transpose` moves the pixels of the file."""
    left, top, right, bottom = corners
    width, height = size
    match transpose:
        case Image.Transpose.ROTATE_90:
            return top, height - right, bottom, height - left
        case Image.Transpose.ROTATE_270:
            return width - bottom, left, width - top, right
        case Image.Transpose.TRANSVERSE:
            return width - bottom, height - right, width - top, height - left
        case _:
            return top, left, bottom, right
