"""Random changes of training images, drawn for each image from (seed, epoch, image).

Drawn so, an image's change depends neither on its batch nor on how often training was interrupted. A batched
torchvision transform would draw once for the whole batch: all images would flip, or none.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from crackdet.config.schema import Augmentation

GREY = (0.2989, 0.587, 0.114)  # ITU-R 601-2 luma, as torchvision's rgb_to_grayscale
COLUMNS = 8  # random numbers an image: one for each setting of Augmentation


def is_active(settings: Augmentation) -> bool:
    return any(vars(settings).values())


def sample_params(num_images: int, seed: int, epoch: int) -> Tensor:
    """Uniform numbers in [0, 1), (num_images, COLUMNS): row i belongs to image i in this epoch."""
    generator = np.random.Generator(np.random.Philox(key=(seed << 32) + epoch))
    return torch.from_numpy(generator.random((num_images, COLUMNS), dtype=np.float32))


def augment(images: Tensor, numbers: Tensor, settings: Augmentation) -> Tensor:
    """Changed copies of a batch of images, (N, 3, S, S) in [0, 1], by their rows of `sample_params`, (N, COLUMNS)."""
    flip_h, flip_v, turn, angle, bright, contrast, saturate, hue = numbers.unbind(1)
    if settings.horizontal_flip:
        images = _where(flip_h < 0.5, images.flip(3), images)
    if settings.vertical_flip:
        images = _where(flip_v < 0.5, images.flip(2), images)
    if settings.rotate90:
        quarter = (turn * 4).long()
        turned = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
        images = turned[quarter, torch.arange(len(images), device=images.device)]
    if settings.rotation:
        images = _rotate(images, (angle * 2 - 1) * settings.rotation)
    if settings.brightness:
        images = (images * _factor(bright, settings.brightness)).clamp(0, 1)
    if settings.contrast:
        mean = _grey(images).mean((1, 2, 3), keepdim=True)
        images = _blend(images, mean, _factor(contrast, settings.contrast))
    if settings.saturation:
        images = _blend(images, _grey(images), _factor(saturate, settings.saturation))
    if settings.hue:
        images = _turn_hue(images, (hue * 2 - 1) * settings.hue)
    return images


def _where(chosen: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(chosen[:, None, None, None], changed, images)


def _factor(numbers: Tensor, strength: float) -> Tensor:
    return (1 + (numbers * 2 - 1) * strength)[:, None, None, None]


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)  # and no tensor of weights, whose making waits for a GPU
    grey = (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])
    return grey[:, None]


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (images * factor + other * (1 - factor)).clamp(0, 1)


def _turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """As torchvision's `adjust_hue`, but each image by a turn of its own; over HSV as in Foley et al., without it."""
    red, green, blue = images.unbind(1)
    value, least = images.amax(1), images.amin(1)
    chroma = value - least
    scale = torch.where(chroma > 0, chroma, 1)
    sixths = (
        torch.where(
            value == red,
            (green - blue) / scale,
            torch.where(value == green, (blue - red) / scale + 2, (red - green) / scale + 4),
        )
        + 6 * turns[:, None, None]
    )  # of the colour circle, from red
    distances = [(sixths + corner).remainder(6) for corner in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(one, 4 - one).clamp(0, 1) for one in distances], 1)


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Each image turned about its centre; what comes in from outside mirrors the border."""
    radians = degrees * (math.pi / 180)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    matrices = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = affine_grid(matrices, list(images.shape), align_corners=False).to(images.dtype)
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
