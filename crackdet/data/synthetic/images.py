"""The endless series of square images of `data=synthetic`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crackdet.data.synthetic.cracks import cut_crack
from crackdet.data.synthetic.distractors import OVERLAYS
from crackdet.data.synthetic.fields import generator
from crackdet.data.synthetic.surface import apply_camera, render_surface

GENERATOR_VERSION = 1  # raise it if the same parameters would give other pixels

DISTRACTORS = (*OVERLAYS, "texture")


@dataclass(frozen=True)
class SyntheticImage:
    """One image, the mask of its crack, and its kind."""

    image: NDArray[np.uint8]  # (size, size, 3) RGB
    mask: NDArray[np.bool_]  # (size, size), True on the crack
    kind: str  # "crack", "plain" or one of DISTRACTORS


def label(index: int, *, seed: int, crack_fraction: float) -> bool:
    """Return whether image `index` shows a crack, without rendering it."""
    return bool(generator(seed, index).random() < crack_fraction)


def render(
    index: int, *, seed: int, image_size: int, crack_fraction: float, hard_negatives: float, difficulty: float
) -> SyntheticImage:
    """Render image `index` of the endless series `seed`.

    Args:
        hard_negatives: The share of negatives with a distractor; half that share of the positives has one.
        difficulty: From 0 to 1; makes cracks finer and fainter, and distractors stronger.
    """
    rng = generator(seed, index)
    cracked = bool(rng.random() < crack_fraction)  # the same first number as in `label`
    has_distractor = rng.random() < hard_negatives * (0.5 if cracked else 1.0)
    distractor = str(rng.choice(DISTRACTORS)) if has_distractor else "plain"
    light = rng.uniform(0.0, 2.0 * np.pi)

    canvas = render_surface(rng, image_size, light, coarse=distractor == "texture", difficulty=difficulty)
    if overlay := OVERLAYS.get(distractor):
        canvas = overlay(canvas, rng, light, 0.45 + 0.8 * difficulty)
    mask = np.zeros((image_size, image_size), dtype=np.bool_)
    if cracked:
        canvas, mask = cut_crack(canvas, rng, light, difficulty)
    return SyntheticImage(apply_camera(canvas, rng), mask, "crack" if cracked else distractor)
