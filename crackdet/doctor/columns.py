"""Columns of data about images that have nothing to do with cracks, or little.

Columns of the origin (size, format, quality, camera, folder, balance of colours) do not depend on whether there is a
crack. Columns of the content (brightness, contrast, sharpness, bits per pixel) may: a crack is dark and has sharp
edges.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from crackdet.data.records import ImageRecord
from crackdet.data.sources.names import normalized, split_of
from crackdet.data.sources.photographs import IMAGE_WORDS
from crackdet.data.tiles import parse_name
from crackdet.doctor.features import APPEARANCE, COLOURS
from crackdet.doctor.headers import Header

MAX_CATEGORIES = 30  # of a column that a tree can compare, the most frequent ones
NONE = "none"


class Kind(StrEnum):
    ORIGIN = "origin"
    CONTENT = "content"


@dataclass(frozen=True)
class Column:
    """One value for each image: numbers, NaN if unknown, or categories."""

    name: str
    kind: Kind
    values: NDArray[np.float64] | NDArray[np.str_]  # (N,)

    @property
    def is_numeric(self) -> bool:
        return self.values.dtype.kind == "f"

    @property
    def is_constant(self) -> bool:
        known = self.values[~np.isnan(self.values)] if self.is_numeric else self.values
        return len(np.unique(known)) < 2


@dataclass(frozen=True)
class Feature:
    """A number for each image that a tree can compare: a column itself, or whether it has a certain value."""

    column: str
    category: str | None
    values: NDArray[np.float64]

    def condition(self, threshold: float, is_below: bool) -> str:
        """Return a comparison in words, such as `JPEG quality at most 82.5` or `format is PNG`."""
        if self.category is not None:
            return f"{self.column} is {'not ' if is_below else ''}{self.category}"
        return f"{self.column} {'at most' if is_below else 'above'} {threshold:.4g}"


def file_columns(
    records: Sequence[ImageRecord], headers: dict[str, Header], class_names: Collection[str] = ()
) -> list[Column]:
    """Return the columns of the file of each image; those of a tile are those of its photograph.

    Args:
        headers: By name of the photograph, see `headers.read_headers`.
        class_names: Names of class folders, which are not part of the folder of origin.
    """
    photographs = [parse_name(record.name)[0] for record in records]
    of_image = [headers.get(name, Header()) for name in photographs]
    sizes = [(header.width or np.nan, header.height or np.nan) for header in of_image]
    widths, heights = np.array(sizes, np.float64).reshape(-1, 2).T
    classes = {normalized(name) for name in class_names}
    bits = 8 * _numbers([header.num_bytes for header in of_image]) / (widths * heights)
    return [
        _categories("format", [header.file_format for header in of_image]),
        Column("width", Kind.ORIGIN, widths),
        Column("height", Kind.ORIGIN, heights),
        Column("aspect ratio", Kind.ORIGIN, widths / heights),
        Column("JPEG quality", Kind.ORIGIN, _numbers([header.quality for header in of_image])),
        _categories("JPEG subsampling", [header.subsampling for header in of_image]),
        _categories("camera", [header.camera for header in of_image]),
        _categories("software", [header.software for header in of_image]),
        _categories("EXIF data", ["present" if header.has_exif else None for header in of_image]),
        Column("hour of the day", Kind.ORIGIN, _numbers([header.hour for header in of_image])),
        _categories("folder", [folder_of_origin(name, classes) for name in photographs]),
        Column("bits per pixel", Kind.CONTENT, bits),
    ]


def appearance_columns(appearance: NDArray[np.float32]) -> list[Column]:
    """Return the columns of the pixels of each image.

    Args:
        appearance: (N, 5), see `features.measure`.
    """
    return [
        Column(name, Kind.ORIGIN if name in COLOURS else Kind.CONTENT, values.astype(np.float64))
        for name, values in zip(APPEARANCE, appearance.T, strict=True)
    ]


def folder_of_origin(name: str, classes: Collection[str]) -> str:
    """Return the folders of an image without those that are named after a class, a split, or images.

    Args:
        classes: Normalized names of classes.
    """
    parts = PurePosixPath(name).parts[:-1]
    ignored = {*classes, *IMAGE_WORDS}
    return "/".join(part for part in parts if split_of(part) is None and normalized(part) not in ignored)


def to_features(columns: Sequence[Column]) -> list[Feature]:
    """Return the numbers that a tree can compare. Unknown numbers become the median; columns of one value are left out.

    That a number is unknown is known from another column: the format, or whether there is EXIF data.
    """
    features = []
    for column in columns:
        if column.is_constant:
            continue
        if column.is_numeric:
            values = column.values.astype(np.float64)
            features.append(Feature(column.name, None, np.where(np.isnan(values), np.nanmedian(values), values)))
            continue
        common = [value for value, _ in Counter(column.values.tolist()).most_common(MAX_CATEGORIES)]
        for value in common[:1] if len(common) == 2 else common:  # of two values, one says all
            features.append(Feature(column.name, value, (column.values == value).astype(np.float64)))
    return features


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _categories(name: str, values: Sequence[str | None]) -> Column:
    return Column(name, Kind.ORIGIN, np.array([value or NONE for value in values], np.str_))
