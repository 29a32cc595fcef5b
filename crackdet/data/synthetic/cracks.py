"""Cracks: branching fractal lines of varying width, cut into a surface."""

import numpy as np
from numpy.typing import NDArray

from crackdet.data.synthetic.fields import (
    Canvas,
    Points,
    Rng,
    carve,
    coverage,
    low_pass,
    noise,
    outline,
    rgb,
    smooth_step,
    unit_vector,
)


def cut_crack(
    canvas: Canvas, rng: Rng, light: float, difficulty: float, units: int = 1, reach: float = 1.0, margin: float = 0.25
) -> tuple[Canvas, NDArray[np.bool_]]:
    """Cut a branching crack into the surface; return the surface and the mask of the crack.

    Args:
        units: The side of the canvas in units.
        reach: The length of the crack, as a factor.
        margin: Where the middle of the crack may not be, as a share of the side.
    """
    size = canvas.shape[-1]
    openness = rng.random()  # from a hairline to a gap; wide cracks are dark
    width = 0.009 * 6.5**openness * (1.4 - 0.8 * difficulty) / units
    darkness = rng.uniform(0.3, 0.8) * (1.2 - 0.4 * difficulty) + 0.2 * openness

    branches = _random_branches(rng, width, reach, margin)[::-1]  # the trunk last, on top
    outlines = [outline(line, half_widths, size) for line, half_widths in branches]
    # a branch narrower than a pixel darkens it only in part
    shades = [min(1.0, float(np.sqrt(np.median(half_widths) * 2 * size))) for _, half_widths in branches]
    cover = coverage(outlines, size, shades)
    cover *= 1.0 - rng.uniform(0.0, 0.8) * smooth_step(noise(rng, size, 24 * units) - 1.2, 0.6)  # debris
    dirt = rng.uniform(0.0, 0.25) * rgb(0.6, 0.9, 1.3) * low_pass(cover, 0.06 / units)
    canvas = carve(canvas * (1.0 - dirt), cover, light, min(darkness, 0.95), lip=rng.uniform(0.0, 1.2), units=units)
    return canvas, coverage(outlines, size) >= 0.45


def _random_branches(rng: Rng, width: float, reach: float, margin: float) -> list[tuple[Points, Points]]:
    """Return a trunk through a point of the image and up to two twigs: centre lines and half widths."""
    heading, middle = rng.uniform(0.0, np.pi), rng.uniform(margin, 1.0 - margin, 2)
    ahead, behind = reach * rng.uniform(0.4, 1.2, (2, 1)) * unit_vector(heading)
    back, forth = _fractal_line(rng, middle, middle - behind), _fractal_line(rng, middle, middle + ahead)
    trunk = np.concatenate([back[:0:-1], forth])
    branches = [(trunk, width * _half_widths(rng, len(trunk)))]
    for _ in range(rng.choice([0, 0, 1, 2])):
        root = trunk[rng.integers(len(trunk) // 4, 3 * len(trunk) // 4)]
        turn = heading + rng.choice([0.0, np.pi]) + rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.1)
        twig = _fractal_line(rng, root, root + reach * rng.uniform(0.2, 0.7) * unit_vector(turn))
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
