"""Procedural synthetic images of concrete, with and without cracks.

An image is a function of (seed, index) and of the parameters of `render`: it needs no file, does not depend on the
images rendered before, and comes with the exact pixel mask of its crack.

The layout is in unit coordinates (x to the right, y downwards, 0 to 1), so an image can be rendered at any size; only
the grain is per pixel. The steps: a surface; possibly a distractor, which resembles a crack; possibly a crack; camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

GENERATOR_VERSION = 1  # raise it if the same parameters would give other pixels

DISTRACTORS = ("joint", "scratch", "stain", "shadow", "texture")

Rng = np.random.Generator
Points = NDArray[np.float64]  # (n, 2), x and y in unit coordinates
Field = NDArray[np.float64]  # (size, size), one value a pixel
Canvas = NDArray[np.float64]  # (3, size, size), reflected light in grey levels


@dataclass(frozen=True)
class SyntheticImage:
    """One image, the mask of its crack, and its kind."""

    image: NDArray[np.uint8]  # (size, size, 3) RGB
    mask: NDArray[np.bool_]  # (size, size), True on the crack
    kind: str  # "crack", "plain" or one of DISTRACTORS


def label(index: int, *, seed: int, crack_fraction: float) -> bool:
    """Return whether image `index` shows a crack, without rendering it."""
    return bool(_generator(seed, index).random() < crack_fraction)


def render(
    index: int, *, seed: int, image_size: int, crack_fraction: float, hard_negatives: float, difficulty: float
) -> SyntheticImage:
    """Render image `index` of the endless series `seed`.

    Args:
        hard_negatives: The share of negatives with a distractor; half that share of the positives has one.
        difficulty: From 0 to 1; makes cracks finer and fainter, and distractors stronger.
    """
    rng = _generator(seed, index)
    cracked = bool(rng.random() < crack_fraction)  # the same first number as in `label`
    has_distractor = rng.random() < hard_negatives * (0.5 if cracked else 1.0)
    distractor = str(rng.choice(DISTRACTORS)) if has_distractor else "plain"
    light = rng.uniform(0.0, 2.0 * np.pi)

    canvas = _render_surface(rng, image_size, light, coarse=distractor == "texture", difficulty=difficulty)
    overlays = {"joint": _add_joint, "scratch": _add_scratches, "stain": _add_stain, "shadow": _add_shadow}
    if overlay := overlays.get(distractor):
        canvas = overlay(canvas, rng, light, 0.45 + 0.8 * difficulty)
    mask = np.zeros((image_size, image_size), dtype=np.bool_)
    if cracked:
        canvas, mask = _cut_crack(canvas, rng, light, difficulty)
    return SyntheticImage(_apply_camera(canvas, rng), mask, "crack" if cracked else distractor)


def _generator(seed: int, index: int) -> Rng:
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))


def _apply_camera(canvas: Canvas, rng: Rng) -> NDArray[np.uint8]:
    """Add uneven light, blur and grain."""
    size = canvas.shape[-1]
    canvas = canvas * (1.0 + rng.normal(0.0, 0.06) * _distance_to_line(rng, size))
    focus = float(rng.choice([0.001, 0.001, 0.006, 0.009, 0.016]))
    blurred = np.stack([_low_pass(channel, focus) for channel in canvas])
    grain = rng.uniform(0.5, 3.5) * rng.standard_normal((size, size))
    return np.ascontiguousarray(np.clip(blurred + grain + 0.5, 0.0, 255.0).astype(np.uint8).transpose(1, 2, 0))


def _render_surface(rng: Rng, size: int, light: float, *, coarse: bool, difficulty: float) -> Canvas:
    """Render bare concrete: a tone with clouds and speckles, a relief lit from one side, pores and light grains."""
    grey = np.clip(rng.normal(177.0, 20.0), 110.0, 222.0)
    warmth, green = rng.normal(0.034, 0.02), rng.normal(0.007, 0.008)
    colour = grey * _rgb(1.0 + warmth, 1.0 + green, 1.0 - warmth)

    fine = _noise(rng, size, 64, brush_length=int(rng.choice([1, 1, 1, 4, 8])))
    lumps, medium, clouds = _noise(rng, size, 16), _noise(rng, size, 32), _noise(rng, size, 5)
    speckle = 0.6 * lumps + 0.6 * medium + rng.uniform(0.2, 0.8) * fine
    speckle -= 0.5 * np.maximum(0.0, -0.8 - speckle) ** 2  # pits are darker than bumps are bright
    relief = _slope_to_light(lumps + rng.uniform(0.2, 0.8) * medium + rng.uniform(0.0, 0.2) * fine, light)

    rough = min(0.07, rng.lognormal(np.log(0.018), 0.5) * (1.8 + difficulty if coarse else 1.0))
    tone = 1.0 + rng.uniform(0.003, 0.02) * clouds + rough * (speckle + rng.uniform(0.0, 2.0) * relief)
    tint = 0.004 * _noise(rng, size, 10) + 0.004 * _noise(rng, size, 24)  # colour noise as after JPEG compression
    canvas = colour * (tone + tint * _rgb(1.0, 0.0, -1.0))

    pores = _spot_coverage(rng, size, 25.0 if coarse else rng.choice([1.0, 4.0, 10.0]))
    canvas = _carve(canvas, pores, light, rng.uniform(0.15, 0.5), lip=0.3)
    grains = _spot_coverage(rng, size, 10.0 if coarse else 1.5)
    return canvas + (255.0 - canvas) * rng.uniform(0.2, 0.7) * grains


def _spot_coverage(rng: Rng, size: int, number: float) -> Field:
    """Return the coverage of small irregular blobs, pores or grains; their number is Poisson-distributed."""
    count, around = rng.poisson(number), np.linspace(0.0, 2.0 * np.pi, 10, endpoint=False)
    radii = rng.lognormal(np.log(0.007), 0.5, (count, 1)) * rng.uniform(0.6, 1.4, (count, 10))
    x, y = radii * np.cos(around), radii * rng.uniform(0.5, 1.0, (count, 1)) * np.sin(around)
    return _coverage(list(rng.random((count, 1, 2)) + np.stack([x, y], axis=2)), size)


def _add_joint(canvas: Canvas, rng: Rng, light: float, strength: float) -> Canvas:
    """Cut a straight groove, as between boards or slabs, whose sides may differ in tone."""
    size = canvas.shape[-1]
    distance = _distance_to_line(rng, size)
    step = rng.normal(0.0, 0.04) * strength * _smooth_step(distance, 0.002)
    half_width = 0.5 * max(rng.uniform(0.008, 0.035), 1.0 / size)
    groove = _smooth_step(half_width + 0.001 * _noise(rng, size, 32) - np.abs(distance), 0.7 / size)
    darkness = min(0.9, strength * rng.uniform(0.2, 0.8))
    return _carve(canvas * (1.0 + step), groove, light, darkness, lip=0.5)


def _add_scratches(canvas: Canvas, rng: Rng, _: float, strength: float) -> Canvas:
    """Add a few nearly parallel, smooth strokes, lighter or darker than the surface."""
    size, heading = canvas.shape[-1], rng.uniform(0.0, np.pi)
    strokes = []
    for _ in range(rng.integers(1, 5)):
        centre, reach, bend = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.6), rng.normal(0.0, 0.05)
        ray = _unit_vector(heading + rng.normal(0.0, 0.1)) * reach
        t = np.linspace(-1.0, 1.0, 17)[:, None]
        line = centre + t * ray + bend * t**2 * _unit_vector(heading + np.pi / 2.0)
        half_width = rng.uniform(0.0025, 0.007) * (1.0 - t[:, 0] ** 4)
        strokes.append(_outline(line, np.stack([half_width, half_width]), size))
    cover = strength * rng.uniform(0.15, 0.5) * _coverage(strokes, size)
    return canvas * (1.0 - cover) if rng.random() < 0.4 else canvas + (255.0 - canvas) * cover


def _add_stain(canvas: Canvas, rng: Rng, _: float, strength: float) -> Canvas:
    size = canvas.shape[-1]
    level = _noise(rng, size, 3) + 0.5 * _noise(rng, size, 8) + 0.25 * _noise(rng, size, 24)
    wet = _smooth_step(level - rng.uniform(0.4, 1.4), rng.uniform(0.1, 0.8))
    absorbed = _rgb(0.8, 1.0, 1.2) if rng.random() < 0.5 else 1.0  # rust and soil, or water
    return canvas * (1.0 - strength * rng.uniform(0.1, 0.4) * absorbed * wet)


def _add_shadow(canvas: Canvas, rng: Rng, _: float, strength: float) -> Canvas:
    size = canvas.shape[-1]
    edge = _distance_to_line(rng, size) + 0.004 * _noise(rng, size, 12)
    if rng.random() < 0.3:  # a narrow shadow, of a pole or a cable
        edge = rng.uniform(0.01, 0.12) - np.abs(edge)
    return canvas * (1.0 - strength * rng.uniform(0.2, 0.5) * _smooth_step(edge, rng.uniform(0.002, 0.03)))


def _distance_to_line(rng: Rng, size: int) -> Field:
    """Return the signed distance of each pixel to a random line, often vertical or horizontal."""
    aligned = rng.choice([0.0, np.pi / 2.0]) + rng.normal(0.0, 0.08)
    normal = _unit_vector(aligned if rng.random() < 0.5 else rng.uniform(0.0, np.pi))
    at = (np.arange(size) + 0.5) / size
    return np.asarray(normal[0] * at + normal[1] * at[:, None] - normal @ rng.uniform(0.2, 0.8, 2))


def _cut_crack(canvas: Canvas, rng: Rng, light: float, difficulty: float) -> tuple[Canvas, NDArray[np.bool_]]:
    """Cut a branching crack into the surface; return the surface and the mask of the crack."""
    size = canvas.shape[-1]
    openness = rng.random()  # from a hairline to a gap; wide cracks are dark
    width = 0.009 * 6.5**openness * (1.4 - 0.8 * difficulty)
    darkness = rng.uniform(0.3, 0.8) * (1.2 - 0.4 * difficulty) + 0.2 * openness

    branches = _random_branches(rng, width)[::-1]  # the trunk last, on top
    outlines = [_outline(line, half_widths, size) for line, half_widths in branches]
    # a branch narrower than a pixel darkens it only in part
    shades = [min(1.0, float(np.sqrt(np.median(half_widths) * 2 * size))) for _, half_widths in branches]
    cover = _coverage(outlines, size, shades)
    cover *= 1.0 - rng.uniform(0.0, 0.8) * _smooth_step(_noise(rng, size, 24) - 1.2, 0.6)  # debris
    canvas = canvas * (1.0 - rng.uniform(0.0, 0.25) * _rgb(0.6, 0.9, 1.3) * _low_pass(cover, 0.06))  # dirt
    canvas = _carve(canvas, cover, light, min(darkness, 0.95), lip=rng.uniform(0.0, 1.2))
    return canvas, _coverage(outlines, size) >= 0.45


def _random_branches(rng: Rng, width: float) -> list[tuple[Points, Points]]:
    """Return a trunk through the middle of the image and up to two twigs: centre lines and half widths."""
    heading, middle = rng.uniform(0.0, np.pi), rng.uniform(0.25, 0.75, 2)
    ahead, behind = rng.uniform(0.4, 1.2, (2, 1)) * _unit_vector(heading)
    back, forth = _fractal_line(rng, middle, middle - behind), _fractal_line(rng, middle, middle + ahead)
    trunk = np.concatenate([back[:0:-1], forth])
    branches = [(trunk, width * _half_widths(rng, len(trunk)))]
    for _ in range(rng.choice([0, 0, 1, 2])):
        root = trunk[rng.integers(len(trunk) // 4, 3 * len(trunk) // 4)]
        turn = heading + rng.choice([0.0, np.pi]) + rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.1)
        twig = _fractal_line(rng, root, root + rng.uniform(0.2, 0.7) * _unit_vector(turn))
        taper = np.linspace(1.0, 0.1, len(twig))
        branches.append((twig, width * rng.uniform(0.25, 0.7) * taper * _half_widths(rng, len(twig))))
    return branches


def _fractal_line(rng: Rng, start: Points, end: Points) -> Points:
    """Return a fractal line by midpoint displacement; the Laplace distribution gives occasional large steps."""
    line = np.stack([start, end])
    sway = np.linalg.norm(end - start) * rng.uniform(0.03, 0.08)
    for _ in range(7):
        middle = 0.5 * (line[1:] + line[:-1]) + rng.laplace(0.0, sway, (len(line) - 1, 2))
        line = np.insert(line, np.arange(1, len(line)), middle, axis=0)
        sway *= 0.52
    return line


def _half_widths(rng: Rng, count: int) -> Points:
    """Return half widths (2, count) along a crack of mean width about one; the two sides vary independently."""
    t = np.linspace(0.0, 1.0, count)
    taper = np.minimum(1.0, 0.1 + 6.0 * np.minimum(t, 1.0 - t))
    swell, *sides = (np.interp(t, np.linspace(0.0, 1.0, n), rng.normal(0.0, 0.3, n)) for n in (9, 50, 50))
    return 0.5 * taper * np.exp(swell + np.stack(sides)) * rng.uniform(0.85, 1.15, (2, count))


def _outline(line: Points, half_widths: Points, size: int) -> Points:
    """Return the outline of a line with half widths (2, n) on its two sides, at least one pixel wide."""
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    left, right = np.maximum(half_widths, 0.5 / size)[:, :, None] * normal
    return np.concatenate([line + left, (line - right)[::-1]])


def _carve(canvas: Canvas, cover: Field, light: float, darkness: float, lip: float) -> Canvas:
    """Darken the covered pixels, most in the middle, with a bright lip on edges that face the light."""
    soft = _low_pass(cover, max(0.018, 1.5 / canvas.shape[-1]))
    facing = np.clip(1.2 * _slope_to_light(soft, light), 0.0, 1.0)
    dark = darkness * cover * (0.7 + 0.3 * np.minimum(1.0, 1.5 * soft)) * (1.0 - 0.35 * facing)
    bright = 0.25 * lip * facing * (1.0 - cover)
    return canvas * (1.0 - dark + bright)


def _coverage(outlines: Sequence[Points], size: int, shades: Sequence[float] = ()) -> Field:
    """Return the coverage of each pixel by the outlines, times their shades; later outlines lie on top."""
    fine = 4 if size <= 256 else 2
    picture = Image.new("L", (size * fine, size * fine))
    pen = ImageDraw.Draw(picture)
    for outline, shade in zip(outlines, shades or [1.0] * len(outlines), strict=True):
        pen.polygon((outline * (size * fine) - 0.5).ravel().tolist(), fill=round(255 * shade))
    return np.asarray(picture.reduce(fine)) / 255.0


def _noise(rng: Rng, size: int, cells: int, brush_length: int = 1) -> Field:
    """Return smooth noise of about unit standard deviation; `brush_length` averages cells along a random direction."""
    grid = rng.standard_normal((cells, cells))
    if brush_length > 1:
        strokes = np.rint(np.outer(np.arange(brush_length), _unit_vector(rng.uniform(0.0, np.pi)))).astype(int)
        grid = np.sum([np.roll(grid, stroke, axis=(1, 0)) for stroke in strokes], axis=0) / np.sqrt(brush_length)
    return 1.2 * _resize(grid, size, Image.Resampling.BICUBIC)  # interpolation reduces the deviation


def _low_pass(field: Field, reach: float) -> Field:
    """Low-pass filter a field: shrink it to pixels of size `reach`, and enlarge it again."""
    size, coarse = len(field), round(1.0 / reach)
    if coarse >= size:
        return field
    return _resize(_resize(field, coarse, Image.Resampling.BILINEAR), size, Image.Resampling.BICUBIC)


def _resize(field: Field, size: int, method: Image.Resampling) -> Field:
    return np.asarray(Image.fromarray(field.astype(np.float32)).resize((size, size), method), dtype=np.float64)


def _smooth_step(value: Field, softness: float) -> Field:
    """Return 0 below zero and 1 above, with a smooth edge."""
    return 0.5 + 0.5 * np.tanh(value / softness)


def _slope_to_light(height: Field, light: float) -> Field:
    """Return how much a height field rises towards the light, per 1/64 of the image."""
    down, right = np.gradient(height)
    return np.asarray((np.cos(light) * right + np.sin(light) * down) * (len(height) / 64))


def _unit_vector(angle: float) -> Points:
    return np.array([np.cos(angle), np.sin(angle)])


def _rgb(red: float, green: float, blue: float) -> Canvas:
    return np.array([red, green, blue]).reshape(3, 1, 1)
