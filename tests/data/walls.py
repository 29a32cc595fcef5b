"""Photographs with masks of their cracks, for the tests of tiles."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.config.file_data import MasksData
from crackdet.data import synthetic
from tests.data.image_files import make_pixels

SIZE = 96, 64  # width and height of a photograph
TILE = 32
NUM_WALLS = 8

Mask = NDArray[np.bool_]
SaveMask = Callable[[Path, Mask], Path]


def render_wall(number: int, crack: bool = True) -> synthetic.SyntheticImage:
    """Render a photograph of 96x64 pixels, with the mask of its crack."""
    wall = synthetic.render(
        number, seed=7, image_size=SIZE[0], crack_fraction=float(crack), hard_negatives=0.3, difficulty=0.2
    )
    return replace(wall, image=wall.image[: SIZE[1]], mask=wall.mask[: SIZE[1]])


def make_walls(root: Path, number: int = NUM_WALLS) -> Path:
    """Save photographs in `images` and masks of the same names in `masks`; every fourth shows no crack."""
    for i in range(number):
        wall = render_wall(i, crack=i % 4 != 3)
        save_photograph(root / "images" / f"{i}.png", wall.image)
        save_mask(root / "masks" / f"{i}.png", wall.mask)
    return root


def make_painted_walls(root: Path, masks: Mapping[str, Mask], suffix: str = "_mask") -> Path:
    """Save a photograph of smooth colours for each mask, and the mask beside it."""
    for i, (name, mask) in enumerate(masks.items()):
        height, width = mask.shape
        save_photograph(root / f"{name}.png", make_pixels(i, max(width, height))[:height, :width])
        save_mask(root / f"{name}{suffix}.png", mask)
    return root


def paint(size: tuple[int, int], *corners: tuple[int, int, int, int]) -> Mask:
    """Return a mask of a width and height with rectangles of crack: left, top, right and bottom of each."""
    mask = np.zeros(size[::-1], np.bool_)
    for left, top, right, bottom in corners:
        mask[top:bottom, left:right] = True
    return mask


def save_photograph(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_mask(path: Path, mask: Mask) -> Path:
    return save_photograph(path, mask.astype(np.uint8) * 255)


def masks_data(root: Path, **settings: object) -> MasksData:
    defaults = {"root": str(root), "tile": TILE, "image_size": TILE, "negatives_per_positive": None}
    return replace(MasksData(), **(defaults | settings))  # type: ignore[arg-type]
