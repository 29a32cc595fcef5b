"""Fields over a square image, and what is drawn with them: noise, coverage, slopes.

Coordinates are in units of the side of the image (x to the right, y downwards, 0 to 1), so that a drawing can be
rendered at any size. A wall has a side of several units: `units` images side by side, with details of the same size.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Rng = np.random.Generator
Points = NDArray[np.float64]  # (n, 2), x and y in units of the side
Field = NDArray[np.float64]  # (size, size), one value a pixel
Canvas = NDArray[np.float64]  # (3, size, size), reflected light in grey levels


def generator(seed: int, index: int) -> Rng:
    """Return the random numbers of one image of a series."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))


def coverage(outlines: Sequence[Points], size: int, shades: Sequence[float] = ()) -> Field:
    """Return the coverage of each pixel by the outlines, times their shades; later outlines lie on top."""
    fine = 4 if size <= 256 else 2
    picture = Image.new("L", (size * fine, size * fine))
    pen = ImageDraw.Draw(picture)
    for outline, shade in zip(outlines, shades or [1.0] * len(outlines), strict=True):
        pen.polygon((outline * (size * fine) - 0.5).ravel().tolist(), fill=round(255 * shade))
    return np.asarray(picture.reduce(fine)) / 255.0


def noise(rng: Rng, size: int, cells: int, brush_length: int = 1) -> Field:
    """Return smooth noise of about unit standard deviation; `brush_length` averages cells along a random direction."""
    grid = rng.standard_normal((cells, cells))
    if brush_length > 1:
        strokes = np.rint(np.outer(np.arange(brush_length), unit_vector(rng.uniform(0.0, np.pi)))).astype(int)
        grid = np.sum([np.roll(grid, stroke, axis=(1, 0)) for stroke in strokes], axis=0) / np.sqrt(brush_length)
    return 1.2 * _resize(grid, size, Image.Resampling.BICUBIC)  # interpolation reduces the deviation


def low_pass(field: Field, reach: float) -> Field:
    """Low-pass filter a field: shrink it to pixels of size `reach`, and enlarge it again."""
    size, coarse = len(field), round(1.0 / reach)
    if coarse >= size:
        return field
    return _resize(_resize(field, coarse, Image.Resampling.BILINEAR), size, Image.Resampling.BICUBIC)


def _resize(field: Field, size: int, method: Image.Resampling) -> Field:
    return np.asarray(Image.fromarray(field.astype(np.float32)).resize((size, size), method), dtype=np.float64)


def smooth_step(value: Field, softness: float) -> Field:
    """Return 0 below zero and 1 above, with a smooth edge."""
    return 0.5 + 0.5 * np.tanh(value / softness)


def slope_to_light(height: Field, light: float, units: int = 1) -> Field:
    """Return how much a height field rises towards the light, per 1/64 of a unit."""
    down, right = np.gradient(height)
    return np.asarray((np.cos(light) * right + np.sin(light) * down) * (len(height) / units / 64))


def distance_to_line(rng: Rng, size: int) -> Field:
    """Return the signed distance of each pixel to a random line, often vertical or horizontal."""
    aligned = rng.choice([0.0, np.pi / 2.0]) + rng.normal(0.0, 0.08)
    normal = unit_vector(aligned if rng.random() < 0.5 else rng.uniform(0.0, np.pi))
    at = (np.arange(size) + 0.5) / size
    return np.asarray(normal[0] * at + normal[1] * at[:, None] - normal @ rng.uniform(0.2, 0.8, 2))


def unit_vector(angle: float) -> Points:
    return np.array([np.cos(angle), np.sin(angle)])


def rgb(red: float, green: float, blue: float) -> Canvas:
    return np.array([red, green, blue]).reshape(3, 1, 1)


def outline(line: Points, half_widths: Points, size: int) -> Points:
    """Return the outline of a line with half widths (2, n) on its two sides, at least one pixel wide."""
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    left, right = np.maximum(half_widths, 0.5 / size)[:, :, None] * normal
    return np.concatenate([line + left, (line - right)[::-1]])


def carve(canvas: Canvas, cover: Field, light: float, darkness: float, lip: float, units: int = 1) -> Canvas:
    """Darken the covered pixels, most in the middle, with a bright lip on edges that face the light."""
    soft = low_pass(cover, max(0.018 / units, 1.5 / canvas.shape[-1]))
    facing = np.clip(1.2 * slope_to_light(soft, light, units), 0.0, 1.0)
    dark = darkness * cover * (0.7 + 0.3 * np.minimum(1.0, 1.5 * soft)) * (1.0 - 0.35 * facing)
    bright = 0.25 * lip * facing * (1.0 - cover)
    return canvas * (1.0 - dark + bright)
