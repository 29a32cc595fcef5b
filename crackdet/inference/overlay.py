"""A scanned photograph, drawn: probabilities as colour over it, regions as boxes, and a key below."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from crackdet.inference.regions import Region
from crackdet.inference.scanning import Heatmap

SIDE = 2000  # pixels: the overlay's longer side at most
STRENGTH = 0.6  # opacity at probability 1
COLOURS = ((255, 230, 80), (255, 140, 0), (214, 0, 60))  # at probability 0, 0.5 and 1; for every kind of eyesight
BOX = (0, 200, 255)


def draw_overlay(photograph: Image.Image, heat: Heatmap, regions: Sequence[Region], caption: str) -> Image.Image:
    """The photograph, made smaller where it is large, with everything that was found."""
    scale = min(1.0, SIDE / max(photograph.size))
    width, height = (max(1, round(side * scale)) for side in photograph.size)
    small = photograph.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    x = (np.arange(width) + 0.5) * photograph.width / width
    y = (np.arange(height) + 0.5) * photograph.height / height
    probability = heat.at(x, y).astype(np.float32)[:, :, None]
    blended = np.asarray(small) + STRENGTH * probability * (_colour(probability[:, :, 0]) - np.asarray(small))
    letter = max(14, width // 90)  # pixels
    page = Image.new("RGB", (width, height + 4 * letter), "white")
    page.paste(Image.fromarray(np.rint(blended).astype(np.uint8)))
    pen = ImageDraw.Draw(page)
    line = max(2, round(max(width, height) / 500))
    for region in regions:
        left, top, right, bottom = (
            round(side * scale) for side in (region.left, region.top, region.right, region.bottom)
        )
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=BOX, width=line)
        _label(pen, f"{region.score:.2f}", left, top, letter, width)
    _draw_key(page, caption, height, letter)
    return page


def _colour(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """(H, W) -> (H, W, 3), grey levels from 0 to 255."""
    steps = np.linspace(0, 1, len(COLOURS))
    channels = (np.interp(probability, steps, channel) for channel in zip(*COLOURS, strict=True))
    return np.stack([channel.astype(np.float32) for channel in channels], axis=-1)


def _label(pen: ImageDraw.ImageDraw, text: str, left: int, top: int, letter: int, width: int) -> None:
    """Above the corner of a box, or inside it where there is no room."""
    font = ImageFont.load_default(letter)
    _, _, right, bottom = pen.textbbox((0, 0), text, font=font)
    y = top - bottom - 4 if top > bottom + 4 else top
    left = min(left, width - int(right) - 6)
    pen.rectangle((left, y, left + right + 6, y + bottom + 4), fill=BOX)
    pen.text((left + 3, y + 1), text, fill="black", font=font)


def _draw_key(page: Image.Image, caption: str, top: int, letter: int) -> None:
    """Two lines below the photograph: what colours mean, and what was done."""
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(letter)
    left, length, height = 2 * letter, min(14 * letter, page.width // 3), letter
    ramp = np.linspace(0, 1, length)[None, :].repeat(height, axis=0)
    shades = 255 + STRENGTH * ramp[:, :, None] * (_colour(ramp) - 255)
    first, second = top + letter // 2, top + letter * 9 // 4
    page.paste(Image.fromarray(np.rint(shades).astype(np.uint8)), (left, first))
    pen.rectangle((left, first, left + length - 1, first + height - 1), outline="grey")
    pen.text((left - letter, first - 2), "0", fill="black", font=font)
    pen.text((left + length + letter // 2, first - 2), "1   probability of a crack", fill="black", font=font)
    pen.text((left - letter, second), caption, fill="black", font=font)
