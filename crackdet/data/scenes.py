"""Drawn scenes with several cracks and a box round each: what a detector can be tried on without photographs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crackdet.data import synthetic


@dataclass(frozen=True)
class Scene:
    """One image and the boxes of its cracks."""

    image: NDArray[np.uint8]  # (size, size, 3) RGB
    boxes: NDArray[np.float32]  # (number of cracks, 4): x1, y1, x2, y2 in pixels, right and lower edge outside


def draw(
    index: int,
    *,
    seed: int,
    tiles: int = 2,
    tile_size: int = 64,
    crack_fraction: float = 0.4,
    hard_negatives: float = 0.5,
    difficulty: float = 0.4,
) -> Scene:
    """Scene ``index`` of the endless set named by ``seed``: tiles x tiles drawings side by side.

    The other parameters are those of :func:`crackdet.data.synthetic.draw`.
    """
    image = np.empty((tiles * tile_size, tiles * tile_size, 3), np.uint8)
    boxes = []
    for tile in range(tiles**2):
        drawing = synthetic.draw(
            index * tiles**2 + tile,
            seed=seed,
            image_size=tile_size,
            crack_fraction=crack_fraction,
            hard_negatives=hard_negatives,
            difficulty=difficulty,
        )
        top, left = (tile_size * step for step in divmod(tile, tiles))
        image[top : top + tile_size, left : left + tile_size] = drawing.image
        if drawing.mask.any():
            rows, columns = np.nonzero(drawing.mask.any(1))[0], np.nonzero(drawing.mask.any(0))[0]
            boxes.append((left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))
    return Scene(image, np.array(boxes, np.float32).reshape(-1, 4))
