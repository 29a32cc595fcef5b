"""RandAugment (Cubuk et al. 2020) as timm's `rand-mN-mstd0.5`: two random operations for each image.

They are drawn for each image from (seed, epoch, image), or from (view, image) for frozen features.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crackdet.data.augmentation import VIEWS, digest_ranks
from crackdet.data.records import ImageRecord

NUM_OPERATIONS = 2  # per image
PROBABILITY = 0.5  # of each operation
MAGNITUDE_STD = 0.5
MAX_MAGNITUDE = 10.0
KEY = 1 << 98  # added to the key of a generator that also draws other augmentation

Draws = NDArray[np.float64]  # (images, NUM_OPERATIONS, 4): operation, whether, magnitude (normal), sign


def sample_operations(num_images: int, seed: int, epoch: int) -> Draws:
    """Return what is drawn for each image in an epoch."""
    return _draw(num_images, KEY + (seed << 32) + epoch)


def sample_view_operations(records: Sequence[ImageRecord], view: int) -> Draws:
    """Return what is drawn for each image of a view, as `augmentation.sample_view_params`."""
    ranks = digest_ranks(records)
    return _draw(max(ranks, default=-1) + 1, KEY + VIEWS + view)[ranks]


def _draw(num_images: int, key: int) -> Draws:
    generator = np.random.Generator(np.random.Philox(key=key))
    draws = generator.random((num_images, NUM_OPERATIONS, 4))
    draws[..., 2] = generator.standard_normal((num_images, NUM_OPERATIONS))
    return draws


def rand_augment(pixels: Tensor, draws: Draws, magnitude: float) -> Tensor:
    """Return augmented copies of images, (N, S, S, 3) bytes, by their rows of `sample_operations`.

    Args:
        pixels: The images.
        draws: One row per image.
        magnitude: From 0 to 10; each operation gets one from a normal distribution around it.
    """
    from crackdet.data.augment_operations import OPERATIONS  # imports torchvision: seconds

    result = pixels.clone()
    for row, operations in enumerate(draws):
        image = pixels[row].permute(2, 0, 1)
        for choice, chance, normal, sign in operations:
            if chance < PROBABILITY:
                level = min(max(magnitude + MAGNITUDE_STD * normal, 0.0), MAX_MAGNITUDE) / MAX_MAGNITUDE
                image = OPERATIONS[int(choice * len(OPERATIONS))](image, float(level), -1 if sign < 0.5 else 1)
        result[row] = image.permute(1, 2, 0)
    return result
