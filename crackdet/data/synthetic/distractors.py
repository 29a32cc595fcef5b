"""Distractors, which resemble cracks: joints, scratches, stains and shadows."""

import numpy as np

from crackdet.data.synthetic.fields import (
    Canvas,
    Rng,
    carve,
    coverage,
    distance_to_line,
    noise,
    outline,
    rgb,
    smooth_step,
    unit_vector,
)


def _add_joint(canvas: Canvas, rng: Rng, light: float, strength: float) -> Canvas:
    """Cut a straight groove, as between boards or slabs, whose sides may differ in tone."""
    size = canvas.shape[-1]
    distance = distance_to_line(rng, size)
    step = rng.normal(0.0, 0.04) * strength * smooth_step(distance, 0.002)
    half_width = 0.5 * max(rng.uniform(0.008, 0.035), 1.0 / size)
    groove = smooth_step(half_width + 0.001 * noise(rng, size, 32) - np.abs(distance), 0.7 / size)
    darkness = min(0.9, strength * rng.uniform(0.2, 0.8))
    return carve(canvas * (1.0 + step), groove, light, darkness, lip=0.5)


def _add_scratches(canvas: Canvas, rng: Rng, _: float, strength: float) -> Canvas:
    """Add a few nearly parallel, smooth strokes, lighter or darker than the surface."""
    size, heading = canvas.shape[-1], rng.uniform(0.0, np.pi)
    strokes = []
    for _ in range(rng.integers(1, 5)):
        centre, reach, bend = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.6), rng.normal(0.0, 0.05)
        ray = unit_vector(heading + rng.normal(0.0, 0.1)) * reach
        t = np.linspace(-1.0, 1.0, 17)[:, None]
        line = centre + t * ray + bend * t**2 * unit_vector(heading + np.pi / 2.0)
        half_width = rng.uniform(0.0025, 0.007) * (1.0 - t[:, 0] ** 4)
        strokes.append(outline(line, np.stack([half_width, half_width]), size))
    cover = strength * rng.uniform(0.15, 0.5) * coverage(strokes, size)
    return canvas * (1.0 - cover) if rng.random() < 0.4 else canvas + (255.0 - canvas) * cover


def _add_stain(canvas: Canvas, rng: Rng, _: float, strength: float) -> Canvas:
    size = canvas.shape[-1]
    level = noise(rng, size, 3) + 0.5 * noise(rng, size, 8) + 0.25 * noise(rng, size, 24)
    wet = smooth_step(level - rng.uniform(0.4, 1.4), rng.uniform(0.1, 0.8))
    absorbed = rgb(0.8, 1.0, 1.2) if rng.random() < 0.5 else 1.0  # rust and soil, or water
    return canvas * (1.0 - strength * rng.uniform(0.1, 0.4) * absorbed * wet)


def _add_shadow(canvas: Canvas, rng: Rng, _: float, strength: float) -> Canvas:
    size = canvas.shape[-1]
    edge = distance_to_line(rng, size) + 0.004 * noise(rng, size, 12)
    if rng.random() < 0.3:  # a narrow shadow, of a pole or a cable
        edge = rng.uniform(0.01, 0.12) - np.abs(edge)
    return canvas * (1.0 - strength * rng.uniform(0.2, 0.5) * smooth_step(edge, rng.uniform(0.002, 0.03)))


OVERLAYS = {"joint": _add_joint, "scratch": _add_scratches, "stain": _add_stain, "shadow": _add_shadow}
