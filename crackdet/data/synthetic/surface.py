"""The surface of concrete, and the camera."""

import numpy as np
from numpy.typing import NDArray

from crackdet.data.synthetic.fields import (
    Canvas,
    Field,
    Rng,
    carve,
    coverage,
    distance_to_line,
    low_pass,
    noise,
    rgb,
    slope_to_light,
)


def render_surface(rng: Rng, size: int, light: float, *, coarse: bool, difficulty: float, units: int = 1) -> Canvas:
    """Render bare concrete: a tone with clouds and speckles, a relief lit from one side, pores and light grains."""
    grey = np.clip(rng.normal(177.0, 20.0), 110.0, 222.0)
    warmth, green = rng.normal(0.034, 0.02), rng.normal(0.007, 0.008)
    colour = grey * rgb(1.0 + warmth, 1.0 + green, 1.0 - warmth)

    fine = noise(rng, size, 64 * units, brush_length=int(rng.choice([1, 1, 1, 4, 8])))
    lumps, medium, clouds = noise(rng, size, 16 * units), noise(rng, size, 32 * units), noise(rng, size, 5 * units)
    speckle = 0.6 * lumps + 0.6 * medium + rng.uniform(0.2, 0.8) * fine
    speckle -= 0.5 * np.maximum(0.0, -0.8 - speckle) ** 2  # pits are darker than bumps are bright
    relief = slope_to_light(lumps + rng.uniform(0.2, 0.8) * medium + rng.uniform(0.0, 0.2) * fine, light, units)

    rough = min(0.07, rng.lognormal(np.log(0.018), 0.5) * (1.8 + difficulty if coarse else 1.0))
    tone = 1.0 + rng.uniform(0.003, 0.02) * clouds + rough * (speckle + rng.uniform(0.0, 2.0) * relief)
    tint = 0.004 * noise(rng, size, 10 * units) + 0.004 * noise(
        rng, size, 24 * units
    )  # colour noise as after JPEG compression
    canvas = colour * (tone + tint * rgb(1.0, 0.0, -1.0))

    pores = _spot_coverage(rng, size, 25.0 if coarse else rng.choice([1.0, 4.0, 10.0]), units)
    canvas = carve(canvas, pores, light, rng.uniform(0.15, 0.5), lip=0.3, units=units)
    grains = _spot_coverage(rng, size, 10.0 if coarse else 1.5, units)
    return canvas + (255.0 - canvas) * rng.uniform(0.2, 0.7) * grains


def _spot_coverage(rng: Rng, size: int, number: float, units: int) -> Field:
    """Return the coverage of small irregular blobs, pores or grains; their number in a unit is Poisson-distributed."""
    count, around = rng.poisson(number * units**2), np.linspace(0.0, 2.0 * np.pi, 10, endpoint=False)
    radii = rng.lognormal(np.log(0.007 / units), 0.5, (count, 1)) * rng.uniform(0.6, 1.4, (count, 10))
    x, y = radii * np.cos(around), radii * rng.uniform(0.5, 1.0, (count, 1)) * np.sin(around)
    return coverage(list(rng.random((count, 1, 2)) + np.stack([x, y], axis=2)), size)


def apply_camera(canvas: Canvas, rng: Rng, units: int = 1) -> NDArray[np.uint8]:
    """Add uneven light, blur and grain."""
    size = canvas.shape[-1]
    canvas = canvas * (1.0 + rng.normal(0.0, 0.06) * distance_to_line(rng, size))
    focus = float(rng.choice([0.001, 0.001, 0.006, 0.009, 0.016]))
    blurred = np.stack([low_pass(channel, focus / units) for channel in canvas])
    grain = rng.uniform(0.5, 3.5) * rng.standard_normal((size, size))
    return np.ascontiguousarray(np.clip(blurred + grain + 0.5, 0.0, 255.0).astype(np.uint8).transpose(1, 2, 0))
