"""Files that were copied incompletely, which Pillow decodes with a lower part of one colour."""

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

TAIL = 64  # bytes: no complete file of a compressed format ends with so many zeros
END_OF_PNG = b"IEND\xaeB`\x82"
END_OF_JPEG = b"\xff\xd9"
FILLING = bytes(np.random.default_rng(0).integers(1, 255, 4096, dtype=np.uint8))


def is_cut_short(image: Image.Image, file: Path | BinaryIO) -> bool:
    """Return whether a loaded image lacks its end: zeros follow, or the mark of the end of a JPEG comes too early."""
    if image.format in ("PNG", "WEBP", "AVIF"):
        return _ends_with_zeros(file)
    return image.format == "JPEG" and _has_flat_end(image) and _depends_on_filling(image, _read(file))


def _ends_with_zeros(file: Path | BinaryIO) -> bool:
    tail = _read(file, TAIL)
    return not any(tail) and END_OF_PNG not in _read(file)[-4096:]  # a complete file may be padded


def _has_flat_end(image: Image.Image) -> bool:
    last_row = np.asarray(image.crop((0, image.height - 1, image.width, image.height)))[0]
    return bool((last_row == last_row[0]).all())


def _depends_on_filling(image: Image.Image, content: bytes) -> bool:
    """Return whether bytes before the mark of the end change the pixels; after complete pixels they are skipped."""
    end = content.rfind(END_OF_JPEG)
    with Image.open(io.BytesIO(content[:end] + FILLING + content[end:]), formats=["JPEG"]) as filled:
        return filled.tobytes() != image.tobytes()


def _read(file: Path | BinaryIO, last: int | None = None) -> bytes:
    """Return the content of a file, or its last bytes."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return _read(opened, last)
    file.seek(0, os.SEEK_END)
    file.seek(0 if last is None else max(file.tell() - last, 0))
    return file.read()
