"""Draw a heatmap and its regions over a photograph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from crackdet.inference.regions import Region
from crackdet.inference.scanning import Heatmap

MAX_SIDE = 2000  # pixels
MAX_OPACITY = 0.6  # at probability 1
COLOURS = ((255, 230, 80), (255, 140, 0), (214, 0, 60))  # at probability 0, 0.5 and 1; safe for colour blindness
BOX_COLOUR = (0, 200, 255)
ANNOTATION_COLOUR = (255, 255, 255)


def draw_overlay(
    photograph: Image.Image,
    heatmap: Heatmap,
    regions: Sequence[Region],
    caption: str,
    annotation: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Return the photograph, downscaled if large, with probabilities as colour, boxes, and a legend below.

    Args:
        annotation: The crack pixels of the photograph as annotated, (height, width), to outline.
    """
    scale = min(1.0, MAX_SIDE / max(photograph.size))
    width, height = (max(1, round(side * scale)) for side in photograph.size)
    small = photograph.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    x = (np.arange(width) + 0.5) * photograph.width / width
    y = (np.arange(height) + 0.5) * photograph.height / height
    probability = heatmap.at(x, y).astype(np.float32)[:, :, None]
    blended = np.asarray(small) + MAX_OPACITY * probability * (_colour(probability[:, :, 0]) - np.asarray(small))
    font_size = max(14, width // 90)
    canvas = Image.new("RGB", (width, height + 4 * font_size), "white")
    canvas.paste(Image.fromarray(np.rint(blended).astype(np.uint8)))
    if annotation is not None:
        _draw_annotation(canvas, annotation, (width, height))
    pen = ImageDraw.Draw(canvas)
    line_width = max(2, round(max(width, height) / 500))
    for region in regions:
        sides = region.left, region.top, region.right, region.bottom
        left, top, right, bottom = (round(side * scale) for side in sides)
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=BOX_COLOUR, width=line_width)
        _draw_label(pen, f"{region.score:.2f}", left, top, font_size, width)
    _draw_legend(canvas, caption, height, font_size, annotation is not None)
    return canvas


def _draw_annotation(canvas: Image.Image, annotation: NDArray[np.bool_], size: tuple[int, int]) -> None:
    """Outline the annotated crack pixels; the line is just outside, so that the crack itself stays visible."""
    mask = (
        Image.fromarray(annotation)
        .convert("L")
        .resize(size, Image.Resampling.BOX)
        .point(lambda value: 255 * (value > 0))
    )
    inner, outer = (np.asarray(mask.filter(ImageFilter.MaxFilter(side))) > 0 for side in (3, 5))
    canvas.paste(ANNOTATION_COLOUR, (0, 0), Image.fromarray(outer & ~inner))


def _colour(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Map probabilities (H, W) to RGB (H, W, 3) from 0 to 255."""
    channels = [np.interp(probability, (0, 0.5, 1), channel) for channel in zip(*COLOURS, strict=True)]
    return np.stack(channels, axis=-1, dtype=np.float32)


def _draw_label(pen: ImageDraw.ImageDraw, text: str, left: int, top: int, font_size: int, width: int) -> None:
    """Draw a score above a box, or inside it at the top edge of the image."""
    font = ImageFont.load_default(font_size)
    _, _, right, bottom = pen.textbbox((0, 0), text, font=font)
    y = top - bottom - 4 if top > bottom + 4 else top
    left = min(left, width - int(right) - 6)
    pen.rectangle((left, y, left + right + 6, y + bottom + 4), fill=BOX_COLOUR)
    pen.text((left + 3, y + 1), text, fill="black", font=font)


def _draw_legend(canvas: Image.Image, caption: str, top: int, font_size: int, annotated: bool) -> None:
    """Draw the colour scale and the caption below the photograph."""
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(font_size)
    left, length, height = 2 * font_size, min(14 * font_size, canvas.width // 3), font_size
    ramp = np.linspace(0, 1, length)[None, :].repeat(height, axis=0)
    shades = 255 + MAX_OPACITY * ramp[:, :, None] * (_colour(ramp) - 255)
    first, second = top + font_size // 2, top + font_size * 9 // 4
    canvas.paste(Image.fromarray(np.rint(shades).astype(np.uint8)), (left, first))
    pen.rectangle((left, first, left + length - 1, first + height - 1), outline="grey")
    pen.text((left - font_size, first - 2), "0", fill="black", font=font)
    meaning = "1   probability of a crack" + "   white: annotation" * annotated
    pen.text((left + length + font_size // 2, first - 2), meaning, fill="black", font=font)
    pen.text((left - font_size, second), caption, fill="black", font=font)
