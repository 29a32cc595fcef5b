"""Synthetic scenes with several cracks and a box around each, to try a detector without real images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crackdet.data import synthetic


@dataclass(frozen=True)
class Scene:
    """One image and the boxes of its cracks."""

    image: NDArray[np.uint8]  # (size, size, 3) RGB
    boxes: NDArray[np.float32]  # (number of cracks, 4): x1, y1, x2, y2 in pixels; x2 and y2 are exclusive


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
    """Render scene `index` of the endless series `seed`: a square of tiles x tiles synthetic images.

    The other parameters are those of `crackdet.data.synthetic.render`.
    """
    image = np.empty((tiles * tile_size, tiles * tile_size, 3), np.uint8)
    boxes = []
    for number in range(tiles**2):
        tile = synthetic.render(
            index * tiles**2 + number,
            seed=seed,
            image_size=tile_size,
            crack_fraction=crack_fraction,
            hard_negatives=hard_negatives,
            difficulty=difficulty,
        )
        top, left = (tile_size * step for step in divmod(number, tiles))
        image[top : top + tile_size, left : left + tile_size] = tile.image
        if tile.mask.any():
            rows, columns = np.nonzero(tile.mask.any(1))[0], np.nonzero(tile.mask.any(0))[0]
            boxes.append((left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))
    return Scene(image, np.array(boxes, np.float32).reshape(-1, 4))
