"""RandAugment (Cubuk et al. 2020) as timm's `rand-mN-mstd0.5`: two random operations for each image.

They are drawn for each image from (seed, epoch, image), or from (view, image) for frozen features.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from crackdet.data.augmentation import VIEWS, digest_ranks
from crackdet.data.records import ImageRecord

NUM_OPERATIONS = 2  # per image
PROBABILITY = 0.5  # of each operation
MAGNITUDE_STD = 0.5
MAX_MAGNITUDE = 10.0
GREY = [128.0]  # fills what an operation moves into the image
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
    result = pixels.clone()
    for row, operations in enumerate(draws):
        image = pixels[row].permute(2, 0, 1)
        for choice, chance, normal, sign in operations:
            if chance < PROBABILITY:
                level = min(max(magnitude + MAGNITUDE_STD * normal, 0.0), MAX_MAGNITUDE) / MAX_MAGNITUDE
                image = OPERATIONS[int(choice * len(OPERATIONS))](image, float(level), -1 if sign < 0.5 else 1)
        result[row] = image.permute(1, 2, 0)
    return result


def _affine(image: Tensor, translate: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Tensor:
    options: dict[str, Any] = {"interpolation": InterpolationMode.BILINEAR, "fill": GREY, "center": [0.0, 0.0]}
    degrees = [math.degrees(math.atan(factor)) for factor in shear]
    moved: Tensor = tv.affine(image, 0.0, list(translate), 1.0, degrees, **options)
    return moved


def _rotate(image: Tensor, level: float, sign: int) -> Tensor:
    rotated: Tensor = tv.rotate(image, sign * level * 30.0, InterpolationMode.BILINEAR, fill=GREY)
    return rotated


def _solarize(image: Tensor, level: float, _sign: int) -> Tensor:
    threshold = int(level * 256)
    return tv.solarize(image, threshold) if threshold < 256 else image


def _solarize_add(image: Tensor, level: float, _sign: int) -> Tensor:
    lighter = (image.short() + int(level * 110)).clamp(max=255).byte()
    return torch.where(image < 128, lighter, image)


def _enhanced(function: Callable[[Tensor, float], Tensor]) -> "Operation":
    return lambda image, level, _sign: function(image, level * 1.8 + 0.1)


Operation = Callable[[Tensor, float, int], Tensor]  # of an image (3, S, S) in bytes, a level in [0, 1] and a sign

OPERATIONS: tuple[Operation, ...] = (  # in timm's order, with the arguments of its `_..._level_to_arg`
    lambda image, _level, _sign: tv.autocontrast(image),
    lambda image, _level, _sign: tv.equalize(image),
    lambda image, _level, _sign: tv.invert(image),
    _rotate,
    lambda image, level, _sign: tv.posterize(image, max(int(level * 4), 1)),  # timm's 0 bits leave a black image
    _solarize,
    _solarize_add,
    _enhanced(tv.adjust_saturation),
    _enhanced(tv.adjust_contrast),
    _enhanced(tv.adjust_brightness),
    _enhanced(tv.adjust_sharpness),
    lambda image, level, sign: _affine(image, shear=(sign * level * 0.3, 0)),
    lambda image, level, sign: _affine(image, shear=(0, sign * level * 0.3)),
    lambda image, level, sign: _affine(image, translate=(sign * level * 0.45 * image.shape[2], 0)),
    lambda image, level, sign: _affine(image, translate=(0, sign * level * 0.45 * image.shape[1])),
)
