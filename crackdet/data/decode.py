"""A file of any common image format -> RGB pixels. The one place where photographs are read."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VERSION = 1  # raised when the same file would give other pixels: part of the cache's name


class BadImage(Exception):
    """A file that is not a readable image; the message says why."""


def decode(path: Path, image_size: int) -> NDArray[np.uint8]:
    """The photograph as (image_size, image_size, 3) RGB, upright, resized as the article does (squashed).

    Grey, palette, transparent (on white), CMYK and 16-bit files all come out as 8-bit RGB.

    Raises:
        BadImage: where the file is truncated, unreadable or no image.
    """
    return squashed(open_rgb(path), image_size)


def open_rgb(file: Path | Image.Image) -> Image.Image:
    """A photograph as 8-bit RGB in its own size, upright; from its file, or as Pillow has opened it.

    Raises:
        BadImage: where the file is truncated, unreadable or no image.
    """
    with _opened(file) as image:
        if image is file:  # somebody's own: it stays as it is
            return _to_rgb(ImageOps.exif_transpose(image))
        ImageOps.exif_transpose(image, in_place=True)  # without a copy: photographs can be large
        return _to_rgb(image)


def squashed(rgb: Image.Image, image_size: int) -> NDArray[np.uint8]:
    """The pixels (image_size, image_size, 3) of an RGB image, whatever its proportions."""
    return np.asarray(rgb.resize((image_size, image_size), Image.Resampling.BILINEAR))


def decode_mask(path: Path, image_size: int) -> NDArray[np.bool_]:
    """Where the crack is, (image_size, image_size): a pixel of which any part is crack counts, for cracks are thin.

    White is crack; in a file of zeros and ones the ones, in a palette every colour but the first.

    Raises:
        BadImage: where the file is truncated, unreadable or no image.
    """
    with _opened(path) as image:
        values = np.asarray(image if image.mode in ("P", "1") else _to_rgb(image).convert("L"))
        bright = values > (127 if image.mode not in ("P", "1") and values.max() > 1 else 0)
    share = Image.fromarray(bright.astype(np.float32)).resize((image_size, image_size), Image.Resampling.BOX)
    return np.asarray(share) > 0


@contextmanager
def _opened(file: Path | Image.Image) -> Iterator[Image.Image]:
    """The image in a file, or that Pillow has opened; whatever is wrong with it is a BadImage."""
    try:
        with nullcontext(file) if isinstance(file, Image.Image) else Image.open(file) as image:
            yield image
    except UnidentifiedImageError:
        raise BadImage("no image of a known format") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":  # 16-bit grey: keep the upper byte
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.asarray(image)
        scale = 255.0 if values.max(initial=0) <= 1 else 1.0
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")
