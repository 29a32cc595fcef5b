"""What the headers of image files say: size, format, quality of the JPEG, camera, program and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin

from crackdet.core.machine import num_cores
from crackdet.core.threads import thread_map
from crackdet.data.decode import BadImage, open_image

SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # by the numbers of Pillow
MAX_TEXT = 60  # characters of a camera or a program
# the luminance table of quality 50: ITU-T T.81, annex K
LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What the header of one file says; None if it does not."""

    width: int | None = None  # pixels, as stored
    height: int | None = None
    file_format: str | None = None
    num_bytes: int | None = None
    quality: int | None = None  # of a JPEG: 1 to 100, as libjpeg counts
    subsampling: str | None = None  # of the colours of a JPEG
    has_exif: bool = False
    camera: str | None = None  # make and model
    software: str | None = None
    hour: float | None = None  # of the day


def read_headers(files: Mapping[str, Path | None]) -> dict[str, Header]:
    """Return the header of each file by its name; an empty one if there is no file, or it cannot be read."""
    headers = thread_map("reading headers", read_header, list(files.values()), num_cores())
    return dict(zip(files, headers, strict=True))


def read_header(file: Path | None) -> Header:
    """Return the header of one file; an empty one if it cannot be read."""
    if file is None:
        return Header()
    try:
        with open_image(file) as image:
            width, height = image.size
            exif = _exif(image)
            jpeg = image if isinstance(image, JpegImagePlugin.JpegImageFile) else None  # also MPO, which phones write
            return Header(
                width,
                height,
                "JPEG" if jpeg else image.format,
                file.stat().st_size,
                _quality(jpeg) if jpeg else None,
                SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(jpeg), "other") if jpeg else None,
                bool(exif),
                _text(exif, ExifTags.Base.Make, ExifTags.Base.Model),
                _text(exif, ExifTags.Base.Software),
                _hour(exif),
            )
    except (BadImage, OSError):
        return Header()


def estimate_quality(table: Sequence[int]) -> int:
    """Return the quality from 1 to 100 at which libjpeg's luminance table has the sum nearest to that of a table."""
    return int(np.abs(_SUMS - sum(table)).argmin()) + 1


def _table_sums() -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the sums of libjpeg's luminance tables of quality 1 to 100 (`jpeg_quality_scaling`)."""
    qualities = np.arange(1, 101)
    scales = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    sums: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        ((LUMINANCE * scales[:, None] + 50) // 100).clip(1, 255).sum(axis=1)
    )
    return sums


_SUMS = _table_sums()


def _quality(image: JpegImagePlugin.JpegImageFile) -> int | None:
    table = image.quantization.get(0)
    return None if table is None else estimate_quality(table)


def _exif(image: Image.Image) -> dict[int, object]:
    """Return the main EXIF tags and the time of the photograph; none if they are damaged."""
    try:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception:  # a damaged header can raise anything in Pillow
        return {}


def _text(exif: Mapping[int, object], *tags: int) -> str | None:
    """Return the texts of tags; the make is often the first word of the model already."""
    words: list[str] = []
    for tag in tags:
        value = exif.get(tag)
        for word in value.replace("\0", " ").split() if isinstance(value, str) else ():
            if word.lower() not in (known.lower() for known in words):
                words.append(word)
    return " ".join(words)[:MAX_TEXT] or None


def _hour(exif: Mapping[int, object]) -> float | None:
    value = exif.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    try:
        hours, minutes = str(value).split()[1].split(":")[:2]
        hour = int(hours) + int(minutes) / 60
    except (ValueError, IndexError):
        return None
    return hour if 0 <= hour < 24 else None
