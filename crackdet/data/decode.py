"""A file of any common image format -> RGB pixels. The one place where photographs are read."""

import multiprocessing
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import wait
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from crackdet.core.machine import num_cores

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# The first is raised when this module gives other pixels of the same file; a new Pillow brings new decoders.
VERSIONS = (2, PIL.__version__)
ORIENTATION = 0x0112  # of EXIF: how the camera was held
UPRIGHT = {  # what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_SIDE = (Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90)
STRETCHED = 0.05  # that a mask may be to one side: it may be smaller than its photograph, in whole pixels
USUAL = 99  # percent of the pixels of a float image: should they lie in [0, 1], a brighter one is an outlier
MOST_DECODERS = 8  # that are worth starting


# Pillow refuses what has twice as many, as a bomb; by default that is less than telephones and drones give.
MOST_PIXELS = 2**30
Image.MAX_IMAGE_PIXELS = MOST_PIXELS


class BadImage(Exception):
    """A file that is not a readable image; the message says why."""


def num_decoders(num_workers: int | None) -> int:
    """How many processes or threads decode: as many as wished, else one a core up to a number."""
    return min(num_cores(), MOST_DECODERS) if num_workers is None else max(num_workers, 1)


def exit_with_parent() -> None:
    """In a process that decodes: from now on it ends with the one that started it, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def decode(file: Path | BinaryIO, image_size: int) -> NDArray[np.uint8]:
    """The photograph as (image_size, image_size, 3) RGB, upright, resized as the article does (squashed).

    Grey, palette, transparent (on white), CMYK and 16-bit files all come out as 8-bit RGB. Of grey values in 16 or 32
    bits those up to 255 are taken for 8 bits and those up to 4095 for 12, as scientific cameras write them.

    Raises:
        BadImage: where the file is truncated, unreadable or no image.
    """
    return resize_square(open_rgb(file), image_size)


def open_rgb(file: Path | BinaryIO | Image.Image) -> Image.Image:
    """A photograph as 8-bit RGB in its own size, upright; from its file, or as Pillow has opened it.

    Raises:
        BadImage: where the file is truncated, unreadable or no image.
    """
    with _opened(file) as image:
        rgb = _to_rgb(_upright(image))
        rgb = rgb.copy() if rgb is file else rgb  # somebody's own stays theirs
        rgb.info.clear()  # of how the camera was held, which is true no more
        return rgb


def resize_square(rgb: Image.Image, image_size: int) -> NDArray[np.uint8]:
    """The pixels (image_size, image_size, 3) of an RGB image, whatever its proportions."""
    return np.asarray(rgb.resize((image_size, image_size), Image.Resampling.BILINEAR))


def decode_mask(path: Path, image_size: int, photograph: Path | None = None) -> NDArray[np.bool_]:
    """Where the crack is, (image_size, image_size): a pixel of which any part is crack counts, for cracks are thin.

    White is crack and what is transparent is none; in a file of zeros and ones the ones, in a palette every colour but
    the first. A mask of the photograph as it is stored, though that was held otherwise, is turned like it.

    Raises:
        BadImage: where the file is truncated, unreadable or no image, or has other proportions than the photograph.
    """
    with _opened(path) as image:
        mask = _upright(image)
        if photograph is not None:
            mask = _like(photograph, mask)
        listed = mask.mode in ("P", "1")
        values = np.asarray(mask if listed else _to_rgb(mask, "black").convert("L"))
        bright = values > (127 if not listed and values.max() > 1 else 0)
    share = Image.fromarray(bright.astype(np.float32)).resize((image_size, image_size), Image.Resampling.BOX)
    return np.asarray(share) > 0


@contextmanager
def _opened(file: Path | BinaryIO | Image.Image) -> Iterator[Image.Image]:
    """The image in a file, or that Pillow has opened; whatever is wrong with it is a BadImage."""
    try:
        with nullcontext(file) if isinstance(file, Image.Image) else Image.open(file) as image:
            yield image
    except Image.DecompressionBombError:
        raise BadImage(f"has more than {2 * MOST_PIXELS / 1e9:.1f} billion pixels") from None
    except UnidentifiedImageError:
        raise BadImage("no image of a known format") from None
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, struct.error) as error:
        raise BadImage(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def _upright(image: Image.Image) -> Image.Image:
    """As the camera was held; of EXIF nothing else is looked at, which is often damaged where pixels are not."""
    image.load()
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # whatever a damaged header provokes in Pillow
        return None
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _like(photograph: Path, mask: Image.Image) -> Image.Image:
    """The mask as the photograph is once it is upright; by its proportions, of which a square has none to tell by."""
    with _opened(photograph) as image:
        turn = _turn(image)
        size = image.size if turn is None else _upright(image).size  # of a TIFF file Pillow says it sooner
    stretch = _stretch(mask.size, size)
    if turn is not None and turn in ON_SIDE and _stretch(mask.size, size[::-1]) < stretch:
        return _like_upright(mask.transpose(turn), size)
    return _like_upright(mask, size)


def _like_upright(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    if _stretch(mask.size, size) > STRETCHED and mask.width != mask.height:  # a square one is as the network sees it
        raise BadImage(f"it has {mask.width}x{mask.height} pixels where its photograph has {size[0]}x{size[1]}")
    return mask


def _stretch(size: tuple[int, int], other: tuple[int, int]) -> float:
    """By which share one is longer than the other to one side than to the other."""
    across, down = size[0] / other[0], size[1] / other[1]
    return abs(across - down) / max(across, down)


def _to_rgb(image: Image.Image, behind: str = "white") -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_grey(_eight_bits(np.asarray(image).astype(np.int32)))
    if image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        values = np.where(np.isnan(values), 0.0, values)
        whole = 1.0 if values.size and np.percentile(values, USUAL) > 1 else 255.0
        return _from_grey(values * whole)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, behind), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The upper byte of grey values of 16 bits, or of as many as there are in use."""
    most = values.max(initial=0)
    return values.clip(0, 65535) >> (0 if most < 2**8 else 4 if most < 2**12 else 8)


def _from_grey(values: NDArray[np.int32] | NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
