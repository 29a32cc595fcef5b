"""Maps and saliency over photographs, as pictures."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

TILE = 160  # pixels a side, at least
CAPTION = 18  # pixels of height
GAP = 6
MOST_LETTERS = 50  # of a caption
INK, PAPER = "#1a1a1a", "#ffffff"

# dark red, orange, light yellow: by lightness alone it can be told on grey, also without seeing colours
STOPS = np.array([[90, 0, 60], [200, 30, 40], [255, 130, 0], [255, 235, 90]], dtype=np.float64)
RING, OUTLINE = "#00e5ff", (0, 150, 200)

Pixels = NDArray[np.uint8]  # (S, S, 3) RGB
Intensity = NDArray[np.float32]  # (H, W), 0 to 1


def photograph(pixels: Pixels, tile: int = TILE) -> Image.Image:
    """The photograph at a whole multiple of its size, at least `tile` pixels a side."""
    side = pixels.shape[0] * max(1, math.ceil(tile / pixels.shape[0]))
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def overlay(pixels: Pixels, intensity: Intensity, tile: int = TILE) -> Image.Image:
    """The photograph in grey, with colour where the intensity is above zero: the more the brighter."""
    grey = photograph(pixels, tile).convert("L")
    fine = Image.fromarray(np.asarray(intensity, dtype=np.float32)).resize(grey.size, Image.Resampling.BILINEAR)
    values = np.clip(np.asarray(fine, dtype=np.float64), 0.0, 1.0)
    positions = np.linspace(0.0, 1.0, len(STOPS))
    colour = np.stack([np.interp(values, positions, STOPS[:, channel]) for channel in range(3)], axis=2)
    cover = np.clip(1.6 * values, 0.0, 0.9)[:, :, None]
    under = np.asarray(grey, dtype=np.float64)[:, :, None]
    return Image.fromarray((under * (1 - cover) + colour * cover).astype(np.uint8))


def outlined(image: Image.Image, mask: NDArray[np.bool_]) -> Image.Image:
    """The picture with a line around a crack's mask, outside of it, so that the crack is seen."""
    large = Image.fromarray(mask).convert("L").resize(image.size, Image.Resampling.BICUBIC)
    wide, wider = (np.asarray(large.filter(ImageFilter.MaxFilter(size))) > 127 for size in (3, 7))
    pixels = np.asarray(image).copy()
    pixels[wider & ~wide] = OUTLINE
    return Image.fromarray(pixels)


def pointed(image: Image.Image, point: tuple[float, float]) -> Image.Image:
    """The picture with a ring around a point, given as its row and column in shares of the side."""
    image, width = image.copy(), max(2, image.width // 80)
    pen = ImageDraw.Draw(image)
    y, x = point[0] * image.height, point[1] * image.width
    for radius, ink, line in ((4 * width, "black", 2 * width), (4 * width - width // 2, RING, width)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=line)
    return image


def _shortened(text: str, most: int) -> str:
    """With its beginning and its end, in which file names differ."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"


def grid(tiles: Sequence[tuple[str, Image.Image]], columns: int, title: str = "") -> Image.Image:
    """Captioned tiles, line by line, under a title."""
    font = ImageFont.load_default(12)
    columns = max(1, min(columns, len(tiles)))
    tiles = [(_shortened(caption, MOST_LETTERS), tile) for caption, tile in tiles]
    title = _shortened(title, 2 * MOST_LETTERS)
    captions = max(math.ceil(font.getlength(caption)) for caption, _ in tiles)
    width, height = max(tiles[0][1].width, captions) + GAP, tiles[0][1].height + CAPTION + GAP
    top = CAPTION + 2 * GAP if title else GAP
    rows = math.ceil(len(tiles) / columns)
    large = ImageFont.load_default(14)
    across = max(columns * width, math.ceil(large.getlength(title)) + GAP) + GAP
    sheet = Image.new("RGB", (across, top + rows * height), PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((GAP, GAP), title, fill=INK, font=large)
    for number, (caption, tile) in enumerate(tiles):
        x, y = GAP + number % columns * width, top + number // columns * height
        sheet.paste(tile, (x, y))
        pen.text((x, y + tile.height + 2), caption, fill=INK, font=font)
    return sheet
