"""Small picture files for the tests of `crackdet.data`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(number: int, size: int = 12) -> NDArray[np.uint8]:
    """Smooth colours, another picture for every number."""
    corners = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(corners).resize((size, size), Image.Resampling.BICUBIC))


def save(path: Path, number: int, size: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number, size)).save(path)
    return path


def fill(root: Path, counts: Mapping[str, int]) -> Path:
    """So many pictures in each folder, no two of them alike."""
    number = 0
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            save(root / folder / f"{place:03d}.png", number)
            number += 1
    return root
