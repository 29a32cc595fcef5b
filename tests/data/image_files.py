"""Small image files for the tests of `crackdet.data`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def make_pixels(number: int, size: int = 12) -> NDArray[np.uint8]:
    """Return smooth colours, (size, size, 3); each number gives another image."""
    corners = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(corners).resize((size, size), Image.Resampling.BICUBIC))


def save_image(path: Path, number: int, size: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_pixels(number, size)).save(path)
    return path


def make_folders(root: Path, counts: Mapping[str, int]) -> Path:
    """Fill each folder with a number of images, all different, and return the root."""
    number = 0
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            save_image(root / folder / f"{i:03d}.png", number)
            number += 1
    return root
