"""Augmentation of training images, with random parameters per image that depend on (seed, epoch, image) only.

So the augmentation of an image depends neither on its batch nor on how often training was interrupted. A batched
torchvision transform samples once per batch: all images would flip, or none.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from crackdet.config.schema import Augmentation
from crackdet.data.records import ImageRecord

LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as in torchvision's rgb_to_grayscale
VIEWS = 1 << 97  # added to the number of a view: a generator that no seed and epoch have
NUM_PARAMS = 8  # per image: one for each setting of Augmentation


def sample_params(num_images: int, seed: int, epoch: int) -> Tensor:
    """Return uniform parameters in [0, 1), (num_images, NUM_PARAMS): row i belongs to image i in this epoch."""
    return _uniform(num_images, (seed << 32) + epoch)


def sample_view_params(records: Sequence[ImageRecord], view: int) -> Tensor:
    """Return the parameters of a view, (images, NUM_PARAMS), which depend only on the set of images and the view.

    Frozen features are computed for each view of the training images, and shared by the runs of all seeds.
    """
    rows = digest_ranks(records)
    return _uniform(max(rows, default=-1) + 1, VIEWS + view)[rows]


def digest_ranks(records: Sequence[ImageRecord]) -> list[int]:
    """Return the place of each image in the sorted set of images."""
    rank = {digest: number for number, digest in enumerate(sorted({record.digest for record in records}))}
    return [rank[record.digest] for record in records]


def _uniform(num_images: int, key: int) -> Tensor:
    generator = np.random.Generator(np.random.Philox(key=key))
    return torch.from_numpy(generator.random((num_images, NUM_PARAMS), dtype=np.float32))


def augment(images: Tensor, params: Tensor, settings: Augmentation) -> Tensor:
    """Return augmented copies of images (N, 3, S, S) in [0, 1], by their rows of `sample_params`, (N, NUM_PARAMS)."""
    flip_h, flip_v, quarter_turn, angle, brightness, contrast, saturation, hue = params.unbind(1)
    if settings.horizontal_flip:
        images = torch.where(flip_h[:, None, None, None] < 0.5, images.flip(3), images)
    if settings.vertical_flip:
        images = torch.where(flip_v[:, None, None, None] < 0.5, images.flip(2), images)
    if settings.rotate90:
        turns = (quarter_turn * 4).long()
        rotated = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
        images = rotated[turns, torch.arange(len(images), device=images.device)]
    if settings.rotation:
        images = _rotate(images, (angle * 2 - 1) * settings.rotation)
    if settings.brightness:
        images = (images * _factor(brightness, settings.brightness)).clamp(0, 1)
    if settings.contrast:
        mean = _to_grey(images).mean((1, 2, 3), keepdim=True)
        images = _blend(images, mean, _factor(contrast, settings.contrast))
    if settings.saturation:
        images = _blend(images, _to_grey(images), _factor(saturation, settings.saturation))
    if settings.hue:
        images = _adjust_hue(images, (hue * 2 - 1) * settings.hue)
    return images


def _factor(params: Tensor, strength: float) -> Tensor:
    return (1 + (params * 2 - 1) * strength)[:, None, None, None]


def _to_grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    # no tensor of weights: creating one would wait for the GPU
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])[:, None]


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (images * factor + other * (1 - factor)).clamp(0, 1)


def _adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Shift the hue like torchvision's `adjust_hue`, but each image by its own share of the colour circle."""
    red, green, blue = images.unbind(1)
    value, minimum = images.amax(1), images.amin(1)
    chroma = value - minimum
    scale = torch.where(chroma > 0, chroma, 1)
    sextant = torch.where(value == green, (blue - red) / scale + 2, (red - green) / scale + 4)
    sextant = torch.where(value == red, (green - blue) / scale, sextant)
    hue = sextant + 6 * shifts[:, None, None]  # in sixths of the colour circle, from red
    # https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative
    distances = [(hue + corner).remainder(6) for corner in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in distances], 1)


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image about its centre; the border is mirrored outwards."""
    radians = degrees * (math.pi / 180)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    matrices = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = affine_grid(matrices, list(images.shape), align_corners=False).to(images.dtype)
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
