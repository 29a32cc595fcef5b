"""Images with more than 8 bits per sample: which value is white, and their conversion to 8 bits.

White follows from the format or from `data.white_level`, never from the pixels of one photograph, so that all
photographs of a set are converted alike:

- the maximum that the file declares: a TIFF with 12 bits or the tag MaxSampleValue, PGM, JPEG 2000;
- otherwise `data.white_level`, if it is set;
- otherwise 65535 for 16-bit integers and 1 for floats. A file whose samples do not look like this range is refused,
  and so are signed and 32-bit integers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# tags of TIFF, and values of them
NEW_SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC = 254, 258, 262
MAX_SAMPLE_VALUE, PLANAR_CONFIGURATION, SAMPLE_FORMAT = 281, 284, 339
REDUCED_RESOLUTION, WHITE_IS_ZERO, SEPARATE_PLANES, UNSIGNED, SIGNED = 1, 0, 2, 1, 2

PLANE_MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK")  # that Pillow reads from separate planes

MAX_16_BITS = 2**16 - 1
DEPTHS = {2**bits - 1: bits for bits in range(8, 16)}  # of cameras, by the maximum: less than 16 bits
DEEP_MARK = ":deep"  # in the digest of an image with more than 8 bits; to be changed with the rule above
OUTLIERS = 1 / 64  # share of pixels that a range may exclude, such as the hot pixels of a sensor


@dataclass(frozen=True)
class SampleFormat:
    """How an image file stores its samples."""

    is_deep: bool = False  # more than 8 bits per sample
    declared_white: int | None = None
    white_is_zero: bool = False
    is_unsigned: bool = False  # Pillow reads unsigned 32-bit integers as signed ones


def read_sample_format(image: Image.Image) -> SampleFormat:
    """Return the sample format of an image that has been opened but not loaded.

    Raises:
        ValueError: If Pillow would decode this format wrongly.
    """
    tile = str(getattr(image, "tile", ""))
    is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16") or ";16" in tile
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        is_scaled = image.format == "JPEG2000" or "'ppm'" in tile  # by Pillow, to 16 bits
        return SampleFormat(is_deep, MAX_16_BITS if is_deep and is_scaled else None)
    bits, sample_formats = max(tags.get(BITS_PER_SAMPLE, (1,))), set(tags.get(SAMPLE_FORMAT, (UNSIGNED,)))
    if tags.get(NEW_SUBFILE_TYPE, 0) & REDUCED_RESOLUTION:
        raise ValueError("the first page is a thumbnail, as in raw files of cameras; convert the file to JPEG or PNG")
    if bits == 8 and SIGNED in sample_formats:
        raise ValueError("signed 8-bit samples are not supported; save the image with unsigned samples")
    white_is_zero = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    has_planes = tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES  # also in files of one plane
    if has_planes and (bits not in (1, 8) or white_is_zero or image.mode not in PLANE_MODES):
        raise ValueError(
            f"separate planes of {bits}-bit samples are not supported; save the image with interleaved samples "
            "(PlanarConfiguration 1), or as PNG"
        )
    declared = max(tags.get(MAX_SAMPLE_VALUE, (0,)))  # some programs write the maximum of the pixels instead
    if bits not in (8, 16, 32):
        declared = 2**bits - 1
    white = declared if is_deep and declared in DEPTHS else None
    return SampleFormat(is_deep or bits > 8, white, white_is_zero, UNSIGNED in sample_formats)


def is_deep_file(path: Path) -> bool:
    """Return whether a file is an image with more than 8 bits per sample."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"\xff\xd8":  # JPEG
                return False
        with Image.open(path) as image:
            return read_sample_format(image).is_deep
    except Exception:  # a damaged header can raise anything in Pillow
        return False


def to_8_bits(image: Image.Image, samples: SampleFormat, white_level: float | None = None) -> Image.Image:
    """Return an image with 8 bits per sample: deep grey becomes mode L, and Pillow has reduced deep colours already.

    Raises:
        ValueError: If it is unknown which value is white.
    """
    white = samples.declared_white or white_level
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        if samples.is_deep:
            _check_deep_colour(image, white)
        return image
    levels = _levels(image, samples)
    if white is None:
        white = _default_white(image, levels)
    transparent = image.info.get("transparency")
    is_transparent = levels == transparent if isinstance(transparent, int) else None
    if samples.white_is_zero:
        levels = white - levels
    scaled = levels * (256 / (white + 1) if white >= 255 else 255 / white)  # the upper 8 of more bits
    if is_transparent is not None:
        scaled[is_transparent] = 255
    if image.mode == "F":
        scaled = np.rint(scaled)
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def mask_to_8_bits(image: Image.Image, samples: SampleFormat) -> Image.Image:
    """Return a deep mask as mode L; its maximum gives the depth, since only black and white are distinguished."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    levels = _levels(image, samples)
    maximum = levels.max(initial=0)
    if maximum <= 1 and image.mode != "F":
        white = 255  # the caller knows masks of zeros and ones
    else:
        white = next((white for white in (1, 255, 4095, MAX_16_BITS) if maximum <= white), maximum)
    return to_8_bits(image, samples, white)


def _levels(image: Image.Image, samples: SampleFormat) -> NDArray[np.float64]:
    values = np.asarray(image)
    if image.mode == "I" and samples.is_unsigned:
        values = values.view(np.uint32)
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=1e300, neginf=-1e300)


def _default_white(image: Image.Image, levels: NDArray[np.float64]) -> int:
    if image.mode == "F":
        if np.mean((levels < 0) | (levels > 1)) > OUTLIERS:
            raise ValueError(
                f"float samples from {levels.min():g} to {levels.max():g}, not in [0, 1]; set data.white_level to the "
                "value that is white, such as 255, or save the images with 8 bits"
            )
        return 1
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise ValueError(
            "signed or 32-bit integers do not define which value is white; set data.white_level, or save the images "
            "with 8 bits"
        )
    if levels.max(initial=0) > 0 and _is_below(levels, 2**12):
        maximum = next(maximum for maximum in (2**8 - 1, 2**10 - 1, 2**12 - 1) if _is_below(levels, maximum + 1))
        raise ValueError(
            f"16-bit samples that do not exceed {maximum}: set data.white_level={maximum} if this value is white "
            f"({DEPTHS[maximum]} bits), or data.white_level={MAX_16_BITS} if such photographs are really dark"
        )
    return MAX_16_BITS


def _is_below(levels: NDArray[Any], limit: float) -> bool:
    """Return whether all pixels but outliers are below a limit."""
    return bool(np.count_nonzero(levels >= limit) <= OUTLIERS * levels.size)


def _check_deep_colour(image: Image.Image, white: float | None) -> None:
    """Raise ValueError if the upper 8 bits of each sample, which Pillow keeps, are not the image."""
    remedy = "save the images with 8 bits"
    if isinstance(image.info.get("transparency"), tuple):
        raise ValueError(f"16-bit colours with a transparent colour are not supported; {remedy}")
    if white is not None and white < MAX_16_BITS:
        raise ValueError(f"16-bit colours with white at {white:g} are not supported; {remedy}")
    upper = np.asarray(image.getchannel(0) if image.mode in ("RGBA", "LA") else image)
    if white is None and upper.max(initial=0) > 0 and _is_below(upper, 2**4):
        raise ValueError(
            f"16-bit colour samples that do not exceed 12 bits; {remedy}, or set data.white_level={MAX_16_BITS} if "
            "such photographs are really dark"
        )
