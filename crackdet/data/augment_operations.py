"""The operations of RandAugment on one image."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

GREY = [128.0]  # fills what an operation moves into the image


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
