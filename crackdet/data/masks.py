"""Decoding of masks: which pixels of a photograph show a crack."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from crackdet.core.errors import UserError
from crackdet.data.bit_depth import mask_to_8_bits, read_sample_format
from crackdet.data.decode import SWAPS_SIDES, BadImage, load_upright, open_image, to_rgb, upright_transpose

MAX_STRETCH = 0.05  # the rounded size of a mask may differ a little from the proportions of its image
COLOUR_TOLERANCE = 48  # of 255 per channel, since JPEG changes colours
RULE = r"white|black|>=\d{1,3}|\d{1,3}(,\d{1,3})*|#[0-9a-f]{6}"
MAX_VALUES_NAMED = 6
MIN_SHARE_NAMED = 1e-4  # of the pixels: JPEG mixes values at edges

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskRule:
    """Which values of a mask are crack: `data.mask_value`.

    `white`: white, or ones in a file of zeros and ones, or any colour of a palette but the first. `black`: the others.
    `>=N`: grey values from N. `N` or `N,M`: these values, of a palette its indices. `#rrggbb`: this colour.

    Raises:
        UserError: If the text is none of these.
    """

    text: str = "white"

    def __post_init__(self) -> None:
        if not re.fullmatch(RULE, self._plain):
            raise UserError(
                f"data.mask_value={self.text}: must be white, black, a value such as 1, several values such as '1,2', "
                "a threshold such as '>=128', or a colour such as '#ff0000'"
            )

    @property
    def _plain(self) -> str:
        return self.text.replace(" ", "").lower()

    def apply(self, mask: Image.Image) -> Mask:
        """Return the crack pixels of a mask of 8 bits per sample, (height, width)."""
        text = self._plain
        if text in ("white", "black"):
            return np.asarray(_is_white(mask) == (text == "white"))
        if text.startswith(">="):
            return np.asarray(_grey(mask) >= int(text[2:]))
        if text.startswith("#"):
            difference = np.asarray(to_rgb(mask, "black"), np.int16) - np.array(ImageColor.getrgb(text), np.int16)
            return np.asarray((abs(difference) <= COLOUR_TOLERANCE).all(axis=-1))
        return np.isin(_indices(mask), [int(value) for value in text.split(",")])


WHITE = MaskRule()


def decode_mask(path: Path, image_size: int, image_path: Path | None = None) -> Mask:
    """Return the crack pixels of a mask file, (image_size, image_size).

    A pixel counts as crack if any part of it is crack, because cracks are thin. White is crack and transparent is not;
    in a file of zeros and ones, ones are crack; in a palette, every colour but the first. A mask stored in the
    orientation of the raw image file is turned with the image.

    Raises:
        BadImage: If the file is truncated, unreadable or no image, or its proportions differ from those of the image.
    """
    mask = _open_mask(path)
    if image_path is not None:
        mask = _match_orientation(mask, image_path)
    return resize_mask(WHITE.apply(mask), image_size)


def open_mask(path: Path, image_path: Path, rule: MaskRule) -> tuple[Mask, str]:
    """Return the crack pixels of a mask in the size of its upright photograph, and the values in the file in words.

    Raises:
        BadImage: If the file is truncated, unreadable or no image, or its size differs from that of the photograph.
    """
    mask, size = _match_size(_open_mask(path), image_path)
    if mask.size != size:
        raise BadImage(f"it has {mask.width}x{mask.height} pixels, but its photograph has {size[0]}x{size[1]}")
    return rule.apply(mask), _describe_values(mask)


def resize_mask(mask: Mask, image_size: int) -> Mask:
    """Return a mask as (image_size, image_size); a pixel is crack if any part of it is crack."""
    share = Image.fromarray(mask.astype(np.float32)).resize((image_size, image_size), Image.Resampling.BOX)
    return np.asarray(share) > 0


def _open_mask(path: Path) -> Image.Image:
    with open_image(path) as image:
        samples = read_sample_format(image)
        return load_upright(image, lambda loaded: mask_to_8_bits(loaded, samples))


def _is_white(mask: Image.Image) -> Mask:
    has_palette = mask.mode in ("P", "1")
    values = np.asarray(mask if has_palette else _grey(mask))
    return np.asarray(values > (127 if not has_palette and values.max(initial=0) > 1 else 0))


def _grey(mask: Image.Image) -> NDArray[np.uint8]:
    is_plain = mask.mode == "L" and "transparency" not in mask.info
    return np.asarray(mask if is_plain else to_rgb(mask, "black").convert("L"))


def _indices(mask: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(mask).astype(np.uint8) if mask.mode in ("P", "1") else _grey(mask)


def _describe_values(mask: Image.Image) -> str:
    """Return for example `0 (98.2 %), 76 (1.8 %)`; colours, if the mask has any."""
    values = np.asarray(mask if mask.mode in ("P", "1", "L") else to_rgb(mask, "black"))
    if values.ndim == 3:
        packed = values.astype(np.uint32) @ np.array([2**16, 2**8, 1], np.uint32)
        found, counts = np.unique(packed, return_counts=True)
        grey = (found >> 16 == found & 255) & (found >> 8 & 255 == found & 255)
        names = [str(value & 255) for value in found] if grey.all() else [f"#{value:06x}" for value in found]
    else:
        found, counts = np.unique(values.astype(np.uint8), return_counts=True)
        names = [str(value) for value in found]
    shares = sorted(zip(counts / values[..., 0].size if values.ndim == 3 else counts / values.size, names, strict=True))
    shown = [f"{name} ({share:.2%})" for share, name in shares[::-1] if share >= MIN_SHARE_NAMED][:MAX_VALUES_NAMED]
    return ", ".join(shown)


def _match_orientation(mask: Image.Image, image_path: Path) -> Image.Image:
    """Turn the mask with its image if the raw orientation fits its proportions better. A square mask is not turned."""
    mask, size = _match_size(mask, image_path)
    # a square mask shows the image as the network sees it
    if _stretch(mask.size, size) > MAX_STRETCH and mask.width != mask.height:
        raise BadImage(f"it has {mask.width}x{mask.height} pixels, but its image has {size[0]}x{size[1]}")
    return mask


def _match_size(mask: Image.Image, image_path: Path) -> tuple[Image.Image, tuple[int, int]]:
    """Return the mask, turned if necessary, and the size of its upright image."""
    with open_image(image_path) as image:
        transpose = upright_transpose(image)
        # only a loaded TIFF has its final size
        size = image.size if transpose is None else load_upright(image, lambda loaded: loaded).size
    if transpose in SWAPS_SIDES and _stretch(mask.size, size[::-1]) < _stretch(mask.size, size):
        mask = mask.transpose(transpose)
    return mask, size


def _stretch(size: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the relative difference between the horizontal and the vertical scale of two sizes."""
    horizontal, vertical = size[0] / other[0], size[1] / other[1]
    return abs(horizontal - vertical) / max(horizontal, vertical)
