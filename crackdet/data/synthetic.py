"""Procedurally drawn photographs of concrete, with and without cracks.

Every image is a function of ``(seed, index)`` and of the parameters of :func:`draw`: it needs no file, does
not depend on which images were drawn before, and comes with the exact pixel mask of its crack.

A scene is laid out in unit coordinates (x to the right, y downwards, 0 to 1), so that it can be photographed
at any size; only the grain belongs to the pixels.  A surface comes first, then perhaps a *distractor* that
resembles a crack, then perhaps the crack itself, and last what the camera does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

GENERATOR_VERSION: int = 1  # raised whenever the same parameters would draw other pixels

DISTRACTORS = ("joint", "scratch", "stain", "shadow", "texture")

Rng = np.random.Generator
Points = NDArray[np.float64]  # (n, 2), x and y in unit coordinates
Field = NDArray[np.float64]  # (size, size), one value a pixel
Photo = NDArray[np.float64]  # (3, size, size), reflected light in grey levels


@dataclass(frozen=True)
class Drawing:
    """One image, where its crack is, and what was drawn."""

    image: NDArray[np.uint8]  # (size, size, 3) RGB
    mask: NDArray[np.bool_]  # (size, size), True on the crack; all False without one
    kind: str  # "crack", "plain" or one of DISTRACTORS


def label(index: int, *, seed: int, crack_fraction: float) -> bool:
    """Whether image ``index`` shows a crack, found without drawing it."""
    return bool(_generator(seed, index).random() < crack_fraction)


def draw(
    index: int, *, seed: int, image_size: int, crack_fraction: float, hard_negatives: float, difficulty: float
) -> Drawing:
    """Draw image ``index`` of the endless set named by ``seed``.

    ``hard_negatives`` is the share of negatives that carry a distractor (positives carry one half as often);
    ``difficulty`` makes cracks finer and fainter and distractors stronger.
    """
    rng = _generator(seed, index)
    cracked = bool(rng.random() < crack_fraction)  # the same first number as in `label`
    distracted = rng.random() < hard_negatives * (0.5 if cracked else 1.0)
    distractor = str(rng.choice(DISTRACTORS)) if distracted else "plain"
    light = rng.uniform(0.0, 2.0 * np.pi)

    photo = _surface(rng, image_size, light, coarse=distractor == "texture", difficulty=difficulty)
    photo = _distract(photo, distractor, rng, light, difficulty)
    mask = np.zeros((image_size, image_size), dtype=np.bool_)
    if cracked:
        photo, mask = _crack(photo, rng, light, difficulty)
    return Drawing(_expose(photo, rng), mask, "crack" if cracked else distractor)


def _generator(seed: int, index: int) -> Rng:
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))


def _expose(photo: Photo, rng: Rng) -> NDArray[np.uint8]:
    """What the camera adds: uneven light, lost focus and grain."""
    size = photo.shape[-1]
    photo = photo * (1.0 + rng.normal(0.0, 0.06) * _across(rng, size))
    focus = float(rng.choice([0.001, 0.001, 0.006, 0.009, 0.016]))
    seen = np.stack([_smooth(channel, focus) for channel in photo])
    grain = rng.uniform(0.5, 3.5) * rng.standard_normal((size, size))
    levels: NDArray[np.uint8] = np.clip(seen + grain + 0.5, 0.0, 255.0).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _surface(rng: Rng, size: int, light: float, *, coarse: bool, difficulty: float) -> Photo:
    """Bare concrete: a tone with clouds and speckles, a relief lit from one side, pores and light grains."""
    grey = np.clip(rng.normal(177.0, 20.0), 110.0, 222.0)
    warmth, green = rng.normal(0.034, 0.02), rng.normal(0.007, 0.008)
    colour = grey * _rgb(1.0 + warmth, 1.0 + green, 1.0 - warmth)

    fine = _noise(rng, size, 64, brushed=int(rng.choice([1, 1, 1, 4, 8])))
    lumps, medium, clouds = _noise(rng, size, 16), _noise(rng, size, 32), _noise(rng, size, 5)
    speckle = 0.6 * lumps + 0.6 * medium + rng.uniform(0.2, 0.8) * fine
    speckle -= 0.5 * np.maximum(0.0, -0.8 - speckle) ** 2  # pits are darker than bumps are bright
    relief = _lit(lumps + rng.uniform(0.2, 0.8) * medium + rng.uniform(0.0, 0.2) * fine, light)

    rough = min(0.07, rng.lognormal(np.log(0.018), 0.5) * (1.8 + difficulty if coarse else 1.0))
    tone = 1.0 + rng.uniform(0.003, 0.02) * clouds + rough * (speckle + rng.uniform(0.0, 2.0) * relief)
    tint = 0.004 * _noise(rng, size, 10) + 0.004 * _noise(rng, size, 24)  # what a JPEG leaves of the colours
    photo = colour * (tone + tint * _rgb(1.0, 0.0, -1.0))

    pores = _spots(rng, size, 25.0 if coarse else rng.choice([1.0, 4.0, 10.0]))
    photo = _carve(photo, pores, light, rng.uniform(0.15, 0.5), lip=0.3)
    grains = _spots(rng, size, 10.0 if coarse else 1.5)
    return photo + (255.0 - photo) * rng.uniform(0.2, 0.7) * grains


def _spots(rng: Rng, size: int, number: float) -> Field:
    """Small irregular blobs, about so many of them: pores, or grains of aggregate."""
    count, around = rng.poisson(number), np.linspace(0.0, 2.0 * np.pi, 10, endpoint=False)
    radii = rng.lognormal(np.log(0.007), 0.5, (count, 1)) * rng.uniform(0.6, 1.4, (count, 10))
    x, y = radii * np.cos(around), radii * rng.uniform(0.5, 1.0, (count, 1)) * np.sin(around)
    return _cover(list(rng.random((count, 1, 2)) + np.stack([x, y], axis=2)), size)


# --- what resembles a crack ---


def _distract(photo: Photo, kind: str, rng: Rng, light: float, difficulty: float) -> Photo:
    overlay = {"joint": _joint, "scratch": _scratches, "stain": _stain, "shadow": _shadow}.get(kind)
    return overlay(photo, rng, light, 0.45 + 0.8 * difficulty) if overlay else photo


def _joint(photo: Photo, rng: Rng, light: float, strength: float) -> Photo:
    """Straight grooves between boards or slabs, whose two sides may differ in tone."""
    size = photo.shape[-1]
    distance = _across(rng, size)
    step = rng.normal(0.0, 0.04) * strength * _step(distance, 0.002)
    half = 0.5 * max(rng.uniform(0.008, 0.035), 1.0 / size)
    groove = _step(half + 0.001 * _noise(rng, size, 32) - np.abs(distance), 0.7 / size)
    darkness = min(0.9, strength * rng.uniform(0.2, 0.8))
    return _carve(photo * (1.0 + step), groove, light, darkness, lip=0.5)


def _scratches(photo: Photo, rng: Rng, _: float, strength: float) -> Photo:
    """A few nearly parallel, smooth strokes, lighter or darker than the surface."""
    size, heading = photo.shape[-1], rng.uniform(0.0, np.pi)
    strokes = []
    for _ in range(rng.integers(1, 5)):
        centre, reach, bend = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.6), rng.normal(0.0, 0.05)
        ray = _direction(heading + rng.normal(0.0, 0.1)) * reach
        t = np.linspace(-1.0, 1.0, 17)[:, None]
        line = centre + t * ray + bend * t**2 * _direction(heading + np.pi / 2.0)
        half = rng.uniform(0.0025, 0.007) * (1.0 - t[:, 0] ** 4)
        strokes.append(_ribbon(line, np.stack([half, half]), size))
    cover = strength * rng.uniform(0.15, 0.5) * _cover(strokes, size)
    return photo * (1.0 - cover) if rng.random() < 0.4 else photo + (255.0 - photo) * cover


def _stain(photo: Photo, rng: Rng, _: float, strength: float) -> Photo:
    size = photo.shape[-1]
    level = _noise(rng, size, 3) + 0.5 * _noise(rng, size, 8) + 0.25 * _noise(rng, size, 24)
    wet = _step(level - rng.uniform(0.4, 1.4), rng.uniform(0.1, 0.8))
    absorbed = _rgb(0.8, 1.0, 1.2) if rng.random() < 0.5 else 1.0  # rust and soil, or water
    return photo * (1.0 - strength * rng.uniform(0.1, 0.4) * absorbed * wet)


def _shadow(photo: Photo, rng: Rng, _: float, strength: float) -> Photo:
    size = photo.shape[-1]
    edge = _across(rng, size) + 0.004 * _noise(rng, size, 12)
    if rng.random() < 0.3:  # of a pole or a cable rather than of a wall
        edge = rng.uniform(0.01, 0.12) - np.abs(edge)
    return photo * (1.0 - strength * rng.uniform(0.2, 0.5) * _step(edge, rng.uniform(0.002, 0.03)))


def _across(rng: Rng, size: int) -> Field:
    """Signed distance of every pixel to a straight line through the picture, often upright or level."""
    aligned = rng.choice([0.0, np.pi / 2.0]) + rng.normal(0.0, 0.08)
    normal = _direction(aligned if rng.random() < 0.5 else rng.uniform(0.0, np.pi))
    at = (np.arange(size) + 0.5) / size
    return np.asarray(normal[0] * at + normal[1] * at[:, None] - normal @ rng.uniform(0.2, 0.8, 2))


# --- the crack ---


def _crack(photo: Photo, rng: Rng, light: float, difficulty: float) -> tuple[Photo, NDArray[np.bool_]]:
    """Cut a branching crack into the surface; returns the cut surface and the crack's mask."""
    size = photo.shape[-1]
    openness = rng.random()  # from a hairline to a gap; what is wide is dark as well
    width = 0.009 * 6.5**openness * (1.4 - 0.8 * difficulty)
    darkness = rng.uniform(0.3, 0.8) * (1.2 - 0.4 * difficulty) + 0.2 * openness

    branches = _branches(rng, width)[::-1]  # the trunk last, so that it lies on top
    outlines = [_ribbon(line, halves, size) for line, halves in branches]
    # What is narrower than a pixel darkens it only in part.
    shades = [min(1.0, float(np.sqrt(np.median(halves) * 2 * size))) for _, halves in branches]
    cover = _cover(outlines, size, shades)
    cover *= 1.0 - rng.uniform(0.0, 0.8) * _step(_noise(rng, size, 24) - 1.2, 0.6)  # debris
    photo = photo * (1.0 - rng.uniform(0.0, 0.25) * _rgb(0.6, 0.9, 1.3) * _smooth(cover, 0.06))  # dirt
    photo = _carve(photo, cover, light, min(darkness, 0.95), lip=rng.uniform(0.0, 1.2))
    return photo, _cover(outlines, size) >= 0.45


def _branches(rng: Rng, width: float) -> list[tuple[Points, Points]]:
    """The trunk through the middle of the picture and up to two branches: centre lines and half widths."""
    heading, middle = rng.uniform(0.0, np.pi), rng.uniform(0.25, 0.75, 2)
    ahead, behind = rng.uniform(0.4, 1.2, (2, 1)) * _direction(heading)
    back, forth = _wander(rng, middle, middle - behind), _wander(rng, middle, middle + ahead)
    trunk = np.concatenate([back[:0:-1], forth])
    branches = [(trunk, width * _halves(rng, len(trunk)))]
    for _ in range(rng.choice([0, 0, 1, 2])):
        root = trunk[rng.integers(len(trunk) // 4, 3 * len(trunk) // 4)]
        turn = heading + rng.choice([0.0, np.pi]) + rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.1)
        twig = _wander(rng, root, root + rng.uniform(0.2, 0.7) * _direction(turn))
        taper = np.linspace(1.0, 0.1, len(twig))
        branches.append((twig, width * rng.uniform(0.25, 0.7) * taper * _halves(rng, len(twig))))
    return branches


def _wander(rng: Rng, start: Points, end: Points) -> Points:
    """A fractal line from start to end: midpoints are moved aside again and again, now and then by much."""
    line = np.stack([start, end])
    sway = np.linalg.norm(end - start) * rng.uniform(0.03, 0.08)
    for _ in range(7):
        middle = 0.5 * (line[1:] + line[:-1]) + rng.laplace(0.0, sway, (len(line) - 1, 2))
        line = np.insert(line, np.arange(1, len(line)), middle, axis=0)
        sway *= 0.52
    return line


def _halves(rng: Rng, count: int) -> Points:
    """Half widths (2, count) along a crack of width about one; each side is ragged by itself."""
    t = np.linspace(0.0, 1.0, count)
    taper = np.minimum(1.0, 0.1 + 6.0 * np.minimum(t, 1.0 - t))
    swell, *sides = (np.interp(t, np.linspace(0.0, 1.0, n), rng.normal(0.0, 0.3, n)) for n in (9, 50, 50))
    return 0.5 * taper * np.exp(swell + np.stack(sides)) * rng.uniform(0.85, 1.15, (2, count))


def _ribbon(line: Points, halves: Points, size: int) -> Points:
    """The outline of a line with the given half widths (2, n) on its two sides, at least one pixel wide."""
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    left, right = np.maximum(halves, 0.5 / size)[:, :, None] * normal
    return np.concatenate([line + left, (line - right)[::-1]])


# --- shared brushes ---


def _carve(photo: Photo, cover: Field, light: float, darkness: float, lip: float) -> Photo:
    """Sink the covered pixels: darkest in the middle, with a bright lip where the edge faces the light."""
    size = photo.shape[-1]
    soft = _smooth(cover, max(0.018, 1.5 / size))
    facing = np.clip(1.2 * _lit(soft, light), 0.0, 1.0)
    dark = darkness * cover * (0.7 + 0.3 * np.minimum(1.0, 1.5 * soft)) * (1.0 - 0.35 * facing)
    bright = 0.25 * lip * facing * (1.0 - cover)
    return photo * (1.0 - dark + bright)


def _cover(outlines: Sequence[Points], size: int, shades: Sequence[float] = ()) -> Field:
    """How much of every pixel the outlines cover, each times its shade; later ones lie on top."""
    fine = 4 if size <= 256 else 2
    canvas = Image.new("L", (size * fine, size * fine))
    pen = ImageDraw.Draw(canvas)
    for outline, shade in zip(outlines, shades or [1.0] * len(outlines), strict=True):
        pen.polygon((outline * (size * fine) - 0.5).ravel().tolist(), fill=round(255 * shade))
    return np.asarray(canvas.reduce(fine)) / 255.0


def _noise(rng: Rng, size: int, cells: int, brushed: int = 1) -> Field:
    """Random values of about unit spread that change from cell to cell, less so along brush strokes."""
    grid = rng.standard_normal((cells, cells))
    if brushed > 1:
        strokes = np.rint(np.outer(np.arange(brushed), _direction(rng.uniform(0.0, np.pi)))).astype(int)
        grid = np.sum([np.roll(grid, stroke, axis=(1, 0)) for stroke in strokes], axis=0) / np.sqrt(brushed)
    return 1.2 * _resized(grid, size, Image.Resampling.BICUBIC)  # interpolation costs spread


def _smooth(field: Field, reach: float) -> Field:
    """The field without what is smaller than reach: taken in pixels of that size, and drawn from them."""
    size, coarse = len(field), round(1.0 / reach)
    if coarse >= size:
        return field
    return _resized(_resized(field, coarse, Image.Resampling.BILINEAR), size, Image.Resampling.BICUBIC)


def _resized(field: Field, size: int, method: Image.Resampling) -> Field:
    image = Image.fromarray(field.astype(np.float32)).resize((size, size), method)
    return np.asarray(image, dtype=np.float64)


def _step(value: Field, softness: float) -> Field:
    """0 below zero, 1 above, with a smooth edge."""
    return 0.5 + 0.5 * np.tanh(value / softness)


def _lit(height: Field, light: float) -> Field:
    """How much a surface of that height rises towards the light, over one sixty-fourth of the picture."""
    down, right = np.gradient(height)
    return np.asarray((np.cos(light) * right + np.sin(light) * down) * (len(height) / 64))


def _direction(angle: float) -> Points:
    return np.array([np.cos(angle), np.sin(angle)])


def _rgb(red: float, green: float, blue: float) -> Photo:
    return np.array([red, green, blue]).reshape(3, 1, 1)
