"""Decoding of image files of any common format to RGB pixels."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from crackdet.data.bit_depth import read_sample_format, to_8_bits
from crackdet.data.completeness import is_cut_short

# Files with these extensions, in lower or upper case, count as images. They are the formats that photographs come in.
IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jpe", ".jfif", ".mpo", ".gif", ".avif", ".heic",
    ".heif", ".hif", ".jp2", ".j2k", ".jpf", ".jpx", ".ppm", ".pgm", ".pnm", ".pbm", ".dib",
)  # fmt: skip
# MPO counts as JPEG. Pillow could open other formats too, some of them with the help of other programs.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "PPM", "DIB", "AVIF")
SEVERAL_FRAMES = (".tif", ".tiff", ".gif", ".webp", ".png", ".avif")  # a JPEG of a phone has a preview or a depth map
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Versions of the decoder. Raise the first if this module returns other pixels of the same file.
VERSIONS = (3, PIL.__version__)
TO_UPRIGHT = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPS_SIDES = tuple(TO_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))

# Pillow warns above this number of pixels and refuses twice as many; its default is less than phones and drones take.
MAX_PIXELS = 2**30
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class BadImage(Exception):
    """The file is not a readable image; the message says why."""


def decode(file: Path | BinaryIO, image_size: int, white_level: float | None = None) -> NDArray[np.uint8]:
    """Return an image as (image_size, image_size, 3) RGB, upright, resized without keeping its proportions.

    Grey, palette, transparent (on white), CMYK and deeper files all become 8-bit RGB. Of several frames or pages, the
    first is used; colour profiles are ignored.

    Args:
        white_level: The sample value that is white in files with more than 8 bits per sample, see `bit_depth`.

    Raises:
        BadImage: If the file is truncated, unreadable or no image, or it is unknown which value is white.
    """
    return resize_square(open_rgb(file, white_level), image_size)


def open_rgb(file: Path | BinaryIO | Image.Image, white_level: float | None = None) -> Image.Image:
    """Return an image file, or an open Pillow image, as 8-bit RGB in its own size, upright.

    Raises:
        BadImage: As `decode`.
    """
    with open_image(file) as image:
        samples = read_sample_format(image)
        rgb = load_upright(image, lambda loaded: to_rgb(to_8_bits(loaded, samples, white_level)))
        if not isinstance(file, Image.Image) and is_cut_short(image, file):
            raise ValueError("image file is truncated: its end is missing")
        rgb = rgb.copy() if rgb is file else rgb  # the caller's image is not changed
        rgb.info.clear()  # its orientation no longer applies
        return rgb


def resize_square(rgb: Image.Image, image_size: int) -> NDArray[np.uint8]:
    """Return the pixels of an RGB image, (image_size, image_size, 3), without keeping its proportions."""
    return np.asarray(rgb.resize((image_size, image_size), Image.Resampling.BILINEAR))


def num_frames(path: Path) -> int:
    """Return the number of frames of an animation, or of pages; 1 for a file that cannot be read, or any JPEG."""
    if path.suffix.lower() not in SEVERAL_FRAMES:
        return 1
    try:
        with open_image(path) as image:
            return getattr(image, "n_frames", 1)
    except BadImage:
        return 1


def upright_size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of an image after it is turned upright, from its header; None if it is unreadable."""
    try:
        with open_image(path) as image:
            return image.size[::-1] if upright_transpose(image) in SWAPS_SIDES else image.size
    except BadImage:
        return None


@contextmanager
def open_image(file: Path | BinaryIO | Image.Image) -> Iterator[Image.Image]:
    """Open an image, and turn every error in the block into a BadImage."""
    try:
        with nullcontext(file) if isinstance(file, Image.Image) else _open_file(file) as image:
            yield image
    except Image.DecompressionBombError:
        raise BadImage(f"has more than {2 * MAX_PIXELS / 1e9:.1f} billion pixels") from None
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, struct.error) as error:
        raise BadImage(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def _open_file(file: Path | BinaryIO) -> Image.Image:
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise BadImage("is not a regular file")  # to open a named pipe would wait for ever
    try:
        return Image.open(file, formats=FORMATS)
    except (UnidentifiedImageError, KeyError):  # KeyError: this Pillow lacks one of the formats
        start = _read_start(file)
    kind = start[4:12]
    if kind[:4] == b"ftyp" and kind[4:] in HEIF_BRANDS:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise BadImage("HEIC and HEIF images need pillow-heif: uv pip install -e '.[heif]'") from None
        register_heif_opener()
        return Image.open(file, formats=["HEIF"])
    if start[:4] in TIFF_MAGIC:
        raise BadImage("a TIFF with samples that are not supported; save it with 8 or 16 bits per sample")
    raise BadImage("no image of a known format")


def _read_start(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(12)
    file.seek(0)
    start = file.read(12)
    file.seek(0)
    return start


def load_upright(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Load and convert an image, and undo its EXIF orientation, which only the unconverted image knows."""
    image.load()
    transpose = upright_transpose(image)
    converted = convert(image)
    return converted if transpose is None else converted.transpose(transpose)


def upright_transpose(image: Image.Image) -> Image.Transpose | None:
    """Return the transpose that undoes the EXIF orientation; other EXIF data is ignored, since it is often damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a damaged header can raise anything in Pillow
        return None
    return TO_UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def to_rgb(image: Image.Image, background: str = "white") -> Image.Image:
    """Return an image of 8 bits per sample as RGB; transparent pixels get the colour of the background."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
