"""Draw heatmaps, masks and points over images, and arrange tiles in a sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from crackdet.core.templates import image_uri

TILE = 160  # minimum pixels a side
CAPTION_HEIGHT = 18  # pixels
GAP = 6
QUALITY = 82  # of WebP
MAX_CAPTION = 50  # characters
INK, PAPER = "#1a1a1a", "#ffffff"

# dark red, orange, light yellow: lightness alone separates them on grey, also for colour-blind readers
COLOUR_STOPS = np.array([[90, 0, 60], [200, 30, 40], [255, 130, 0], [255, 235, 90]], dtype=np.float64)
RING, OUTLINE = "#00e5ff", (0, 150, 200)

Pixels = NDArray[np.uint8]  # (S, S, 3) RGB
Intensity = NDArray[np.float32]  # (H, W), 0 to 1


@dataclass(frozen=True)
class Tile:
    """An image with a caption."""

    image: Image.Image
    caption: str
    command: str = ""  # draws this tile alone

    @property
    def source(self) -> str:
        """The image as a data URI."""
        return image_uri(self.image, QUALITY)


def upscale(pixels: Pixels, tile: int = TILE) -> Image.Image:
    """Return the image at a whole multiple of its size, at least `tile` pixels a side."""
    side = pixels.shape[0] * max(1, math.ceil(tile / pixels.shape[0]))
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def overlay(pixels: Pixels, intensity: Intensity, tile: int = TILE) -> Image.Image:
    """Return the image in grey with positive intensities in colour, brighter for larger values."""
    grey = upscale(pixels, tile).convert("L")
    resized = Image.fromarray(np.asarray(intensity, dtype=np.float32)).resize(grey.size, Image.Resampling.BILINEAR)
    values = np.clip(np.asarray(resized, dtype=np.float64), 0.0, 1.0)
    positions = np.linspace(0.0, 1.0, len(COLOUR_STOPS))
    colour = np.stack([np.interp(values, positions, channel) for channel in COLOUR_STOPS.T], axis=2)
    opacity = np.clip(1.6 * values, 0.0, 0.9)[:, :, None]
    background = np.asarray(grey, dtype=np.float64)[:, :, None]
    return Image.fromarray((background * (1 - opacity) + colour * opacity).astype(np.uint8))


def draw_mask_outline(image: Image.Image, mask: NDArray[np.bool_] | None) -> Image.Image:
    """Return the image with a line just outside the mask, if any, so that the crack itself stays visible."""
    if mask is None:
        return image
    large = Image.fromarray(mask).convert("L").resize(image.size, Image.Resampling.BICUBIC)
    inner, outer = (np.asarray(large.filter(ImageFilter.MaxFilter(size))) > 127 for size in (3, 7))
    pixels = np.asarray(image).copy()
    pixels[outer & ~inner] = OUTLINE
    return Image.fromarray(pixels)


def draw_ring(image: Image.Image, point: tuple[float, float]) -> Image.Image:
    """Return the image with a ring around a point (row, column), given as fractions of the side."""
    image, width = image.copy(), max(2, image.width // 80)
    pen = ImageDraw.Draw(image)
    y, x = point[0] * image.height, point[1] * image.width
    for radius, ink, line in ((4 * width, "black", 2 * width), (4 * width - width // 2, RING, width)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=line)
    return image


def tile_sheet(tiles: Sequence[Tile], columns: int, title: str) -> Image.Image:
    """Arrange tiles of one size row by row under a title."""
    font, title_font = ImageFont.load_default(12), ImageFont.load_default(14)
    columns = min(columns, len(tiles))
    captions = [_elide(tile.caption, MAX_CAPTION) for tile in tiles]
    title = _elide(title, 2 * MAX_CAPTION)
    caption_width = max(math.ceil(font.getlength(caption)) for caption in captions)
    width, height = max(tiles[0].image.width, caption_width) + GAP, tiles[0].image.height + CAPTION_HEIGHT + GAP
    top = CAPTION_HEIGHT + 2 * GAP
    sheet_width = max(columns * width, math.ceil(title_font.getlength(title)) + GAP) + GAP
    sheet = Image.new("RGB", (sheet_width, top + math.ceil(len(tiles) / columns) * height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), title, fill=INK, font=title_font)
    for number, (caption, tile) in enumerate(zip(captions, tiles, strict=True)):
        x, y = GAP + number % columns * width, top + number // columns * height
        sheet.paste(tile.image, (x, y))
        pen.text((x, y + tile.image.height + 2), caption, fill=INK, font=font)
    return sheet


def _elide(text: str, max_length: int) -> str:
    """Cut out the middle of a long text: file names differ at their beginning and end."""
    return text if len(text) <= max_length else f"{text[: max_length // 2 - 1]}…{text[-max_length // 2 :]}"
