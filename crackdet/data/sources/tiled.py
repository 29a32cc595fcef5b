"""What `data=masks` and `data=boxes` share: photographs whose images are tiles, labelled by an annotation."""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.config.file_data import TiledData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.text import list_first, list_lines
from crackdet.data.decode import BadImage, open_rgb, resize_square, upright_size
from crackdet.data.facts import find_facts
from crackdet.data.masks import resize_mask
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import MAX_PROBLEMS, check_splits, sort_records
from crackdet.data.sources.files import FileSource
from crackdet.data.sources.manifest import SCALE_COLUMN, read_column
from crackdet.data.sources.photographs import is_kind_or_split, split_in_path
from crackdet.data.tiles import Box, Grid, make_grid, parse_digest, parse_name, tile_digest, tile_name

GROUP_DIGITS = 16  # of a photograph's digest, which is its group

CRACK, NO_CRACK, AMBIGUOUS = 1, 0, -1  # labels of a tile
Labels = NDArray[np.int8]  # one for each tile of a photograph


class Photograph(NamedTuple):
    """One photograph and its annotation."""

    name: str  # path relative to the root
    split: str | None
    annotation: Any = None  # None: it shows no crack
    digest: str = ""
    size: tuple[int, int] = (0, 0)  # upright, in pixels
    tile: int = 0  # side of its tiles in pixels
    group: str | None = None


class TiledSource(FileSource, ABC):
    """Tiles of photographs below a root folder."""

    ambiguity: str  # why a tile has no label, for a message

    def __init__(self, data: TiledData, cache_dir: Path) -> None:
        super().__init__(data, cache_dir)
        self.data = data

    @abstractmethod
    def find_photographs(self) -> tuple[list[Photograph], list[str], list[str]]:
        """Return the annotated photographs, the names of the others, and a line for each bad annotation.

        Raises:
            UserError: If there is no photograph or no annotation.
        """

    @abstractmethod
    def label_tiles(self, photographs: Sequence[Photograph]) -> tuple[list[Labels], dict[int, str]]:
        """Return the labels of the tiles of each photograph, and the problems of annotations by position."""

    @abstractmethod
    def crack_mask(self, photograph: str) -> NDArray[np.bool_] | None:
        """Return the crack pixels of a photograph, (height, width); None if it has no annotation.

        Raises:
            BadImage: If the annotation cannot be read.
        """

    @property
    def dependencies(self) -> Sequence[Path]:
        scales = [] if self.data.scale is None else [self.root / expand_home(self.data.manifest)]
        return [*super().dependencies, *scales]

    def list_records(self, both_classes: bool = True) -> list[ImageRecord]:
        self.left_out.clear()
        self.doubts = []
        found, unannotated, problems = self.find_photographs()
        found += self._treat_unannotated(unannotated, problems)
        photographs = self._measure(found, problems)
        labels, wrong = self.label_tiles(photographs)
        problems += [f"{photographs[index].name}: {wrong[index]}" for index in sorted(wrong)]
        if problems:
            self._report(problems)
        records: list[ImageRecord] = []
        for index, (photograph, of_tiles) in enumerate(zip(photographs, labels, strict=True)):
            if index not in wrong:
                records += _tile_records(photograph, self.grid(photograph).boxes, of_tiles)
        self._doubt(photographs, labels)
        check_splits(records, f"data.root={self.data.root}")
        return sort_records(records, f"data.root={self.data.root}, data.tile={self.data.tile}", both_classes)

    def read(self, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        pixels = next(self.read_many([record], image_size))
        if isinstance(pixels, BadImage):
            raise pixels
        return pixels

    def read_many(self, records: Sequence[ImageRecord], image_size: int) -> Iterator[NDArray[np.uint8] | BadImage]:
        for name, members in groupby(records, lambda record: parse_name(record.name)[0]):
            tiles = list(members)
            try:
                photograph = self.open_photograph(tiles[0])
            except BadImage as error:
                yield from [error] * len(tiles)
                continue
            for record in tiles:
                _, box = parse_name(record.name)
                if box is None or box.corners[2] > photograph.width or box.corners[3] > photograph.height:
                    yield BadImage(f"is not a tile of {name}")
                elif (box.width, box.height) == (image_size, image_size):
                    yield np.asarray(photograph.crop(box.corners))
                else:
                    yield resize_square(photograph.crop(box.corners), image_size)

    def open_photograph(self, record: ImageRecord) -> Image.Image:
        """Return the upright photograph of a tile.

        Raises:
            BadImage: As `read`.
        """
        content = self.read_content(parse_name(record.name)[0], parse_digest(record.digest)[0])
        return open_rgb(io.BytesIO(content), self.white_level)

    def file(self, name: str) -> Path:
        return self.root / parse_name(name)[0]

    def reread(self, records: Sequence[ImageRecord]) -> None:
        names = dict.fromkeys(parse_name(record.name)[0] for record in records)
        super().reread([ImageRecord(name, False, "") for name in names])

    def mask(self, record: ImageRecord, image_size: int) -> NDArray[np.bool_] | None:
        name, box = parse_name(record.name)
        try:
            mask = self.crack_mask(name)
        except BadImage as error:
            raise UserError(f"data.root={self.data.root}: {name}: {error}") from None
        if mask is None or box is None:
            return mask if mask is None else resize_mask(mask, image_size)
        left, top, right, bottom = box.corners
        return resize_mask(mask[top:bottom, left:right], image_size)

    def _treat_unannotated(self, names: Sequence[str], problems: list[str]) -> list[Photograph]:
        """Return the photographs without an annotation that count as clean; add a problem if they are an error."""
        if not names:
            return []
        shown = list_first(sorted(names), 3)
        if self.data.unannotated == "clean":
            return [Photograph(name, split_in_path(name)) for name in names]
        if self.data.unannotated == "skip":
            self.left_out["photograph without an annotation"] += len(names)
        else:
            problems.append(
                f"{len(names)} photographs have no annotation, such as {shown}: if they show no crack, set "
                "data.unannotated=clean; to leave them out, data.unannotated=skip"
            )
        return []

    def _measure(self, photographs: Sequence[Photograph], problems: list[str]) -> list[Photograph]:
        """Return the photographs with digest, size, tile and group, without those that cannot be read."""
        ordered = sorted(photographs, key=lambda photograph: photograph.name)
        names = [photograph.name for photograph in ordered]
        digests = self.find_digests(names)
        sizes, unreadable = self.find_sizes(names, digests)
        problems += [f"{ordered[index].name}: {unreadable[index]}" for index in sorted(unreadable)]
        sides, groups = self._tile_sides(names), self.find_groups(names, is_kind_or_split)
        return [
            photograph._replace(
                digest=digests[i], size=size, tile=sides[i], group=groups[i] or digests[i][:GROUP_DIGITS]
            )
            for i, (photograph, size) in enumerate(zip(ordered, sizes, strict=True))
            if size is not None
        ]

    def find_sizes(
        self, names: Sequence[str], digests: Sequence[str]
    ) -> tuple[list[tuple[int, int] | None], dict[int, str]]:
        """Return the upright width and height of photographs, and why some are unknown, by position."""

        def size_of(index: int) -> tuple[int, int]:
            size = upright_size(self.root / names[index])
            if size is None:
                raise BadImage("cannot be read as an image")
            return size

        sizes, unknown = find_facts("sizes", self.root.absolute(), self.cache_dir, digests, size_of, _is_size)
        return [None if size is None else tuple(size) for size in sizes], unknown

    def _tile_sides(self, names: Sequence[str]) -> list[int]:
        """Return the side of a tile in pixels of each photograph."""
        if self.data.scale is None:
            return [self.data.tile] * len(names)
        file = self.root / expand_home(self.data.manifest)
        cells = dict(read_column(file, SCALE_COLUMN, f"data.manifest={self.data.manifest}", self.root, names))
        sides = []
        for name in names:
            try:
                scale = float(cells[name])
                if not 0 < scale < float("inf"):
                    raise ValueError
            except ValueError:
                raise UserError(
                    f"data.scale: {file} has {SCALE_COLUMN}={cells[name]} for {name}; must be > 0"
                ) from None
            sides.append(max(1, round(self.data.tile * scale / self.data.scale)))
        return sides

    def grid(self, photograph: Photograph) -> Grid:
        """Return the tiles of a photograph."""
        stride = max(1, round(self.data.step * photograph.tile / self.data.tile))
        return make_grid(photograph.size, photograph.tile, stride)

    def _report(self, problems: Sequence[str]) -> None:
        """Raise a UserError with all problems, or keep a warning if bad images are skipped."""
        lines = list_lines(problems, MAX_PROBLEMS)
        found = f"{len(problems)} annotations or photographs of {self.name} cannot be used"
        if self.data.on_bad_image == "error":
            raise UserError(f"data: {found}; repair or remove them, or set data.on_bad_image=skip\n{lines}")
        self.doubts.append(f"{found} and are skipped:\n{lines}")

    def _doubt(self, photographs: Sequence[Photograph], labels: Sequence[Labels]) -> None:
        """Keep warnings about photographs and tiles that are left out.

        Raises:
            UserError: If all photographs are smaller than a tile.
        """
        small = [p.name for p in photographs if min(p.size) < p.tile]
        if small and len(small) == len(photographs):
            width, height = photographs[0].size
            raise UserError(
                f"data.tile={self.data.tile}: all {len(small)} photographs are smaller than a tile, such as {small[0]} "
                f"with {width}x{height} pixels"
            )
        if small:
            self.doubts.append(
                f"{len(small)} photographs are smaller than a tile of data.tile={self.data.tile} and are left out, "
                f"such as {small[0]}"
            )
        total = sum(len(of_tiles) for of_tiles in labels)
        ambiguous = sum(int((of_tiles == AMBIGUOUS).sum()) for of_tiles in labels)
        if ambiguous:
            self.doubts.append(f"{ambiguous:,} of {total:,} tiles are left out, because {self.ambiguity}")


def _tile_records(photograph: Photograph, boxes: Sequence[Box], labels: Labels) -> Iterator[ImageRecord]:
    name, digest, split, group = photograph.name, photograph.digest, photograph.split, photograph.group
    for box, label in zip(boxes, labels.tolist(), strict=True):
        if label != AMBIGUOUS:
            yield ImageRecord(tile_name(name, box), label == CRACK, tile_digest(digest, box), split, group)


def label_by_share(shares: NDArray[np.float64], threshold: float) -> Labels:
    """Return the labels of tiles by the share that speaks of a crack; a share below the threshold is ambiguous."""
    is_crack = (shares >= threshold) & (shares > 0)
    return np.where(is_crack, CRACK, np.where(shares > 0, AMBIGUOUS, NO_CRACK)).astype(np.int8)


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
