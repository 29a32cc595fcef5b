"""Synthetic photographs of whole walls: several cracks, distractors and clean parts, with masks and boxes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdet.data.synthetic.cracks import cut_crack
from crackdet.data.synthetic.distractors import OVERLAYS
from crackdet.data.synthetic.fields import generator
from crackdet.data.synthetic.surface import apply_camera, render_surface

UNIT = 256  # pixels of a wall that are drawn as one image of the series
MIN_SIDE, MAX_SIDE = 64, 4096
MAX_CRACKS = 4
FIRST_INDEX = 2**63  # the random numbers are not those of the images
MAX_GAP = 8  # pixels between parts of one crack


class SyntheticPhotograph(NamedTuple):
    """One photograph of a wall, and where its cracks are."""

    image: NDArray[np.uint8]  # (height, width, 3) RGB
    mask: NDArray[np.bool_]  # (height, width), True on a crack

    @property
    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Left, top, right and bottom of the connected cracks, in pixels; right and bottom are exclusive."""
        from scipy import ndimage

        joined = ndimage.binary_dilation(self.mask, np.ones((3, 3), np.bool_), iterations=MAX_GAP // 2)
        labels, number = ndimage.label(joined, np.ones((3, 3), np.bool_))
        found = ndimage.find_objects(np.where(self.mask, labels, 0), number)
        return [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in found]


def render_photograph(index: int, *, seed: int, size: tuple[int, int], difficulty: float = 0.5) -> SyntheticPhotograph:
    """Render photograph `index` of the endless series `seed`.

    Args:
        size: Width and height in pixels.
        difficulty: From 0 to 1; makes cracks finer and fainter, and distractors stronger.
    """
    rng = generator(seed, FIRST_INDEX + index)
    side = max(size)
    units = max(1, round(side / UNIT))
    light = rng.uniform(0.0, 2.0 * np.pi)
    canvas = render_surface(rng, side, light, coarse=rng.random() < 0.15, difficulty=difficulty, units=units)
    for overlay in rng.choice(list(OVERLAYS), rng.integers(0, 4)):
        canvas = OVERLAYS[overlay](canvas, rng, light, 0.3 + 0.6 * difficulty)
    mask = np.zeros((side, side), np.bool_)
    for _ in range(rng.integers(0, MAX_CRACKS + 1)):
        canvas, of_crack = cut_crack(canvas, rng, light, difficulty, units, rng.uniform(0.12, 0.4), margin=0.1)
        mask |= of_crack
    image = apply_camera(canvas, rng, units)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    rows, columns = slice(top, top + size[1]), slice(left, left + size[0])
    return SyntheticPhotograph(np.ascontiguousarray(image[rows, columns]), mask[rows, columns].copy())
