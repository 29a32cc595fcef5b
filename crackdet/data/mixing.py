"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of the images of a batch, drawn from (seed, epoch, batch).

As in timm's `Mixup` of mode `batch`: each image is mixed with the one at the mirrored place in the batch; with both
settings, each batch gets one of the two with equal probability.
"""

import numpy as np
import torch
from torch import Tensor

KEY = 1 << 99  # added to (seed, epoch): a generator that nothing else has
SWITCH_PROBABILITY = 0.5  # of CutMix, if both are set
NUM_PARAMS = 6


def sample_mixing(
    num_batches: int, seed: int, epoch: int, image_size: int, mixup: float | None, cutmix: float | None
) -> Tensor:
    """Return for each batch of an epoch how its images are mixed.

    Args:
        num_batches: Batches of the epoch.
        seed: Of the run.
        epoch: Its number.
        image_size: Pixels a side.
        mixup: The alpha of the Beta distribution of an image's own share; None without mixup.
        cutmix: Likewise, of the share of the area that an image keeps.

    Returns:
        (num_batches, NUM_PARAMS), float32: an image's own share of the label and of each pixel, and the box that is the
        other image's: left, right, top and bottom in pixels.
    """
    generator = np.random.Generator(np.random.Philox(key=KEY + (seed << 32) + epoch))
    alphas = mixup or 1.0, cutmix or 1.0  # all is drawn whatever is set
    shares = [generator.beta(alpha, alpha, num_batches) for alpha in alphas]
    centers = generator.integers(0, image_size, (2, num_batches))
    uses_cutmix = generator.random(num_batches) < SWITCH_PROBABILITY
    if mixup is None or cutmix is None:
        uses_cutmix[:] = cutmix is not None
    side = (image_size * np.sqrt(1 - shares[1])).astype(int)
    left, top = np.clip(centers - side // 2, 0, image_size)
    right, bottom = np.clip(centers + (side + 1) // 2, 0, image_size)
    box = np.where(uses_cutmix, np.stack([left, right, top, bottom]), 0)
    kept = 1 - (right - left) * (bottom - top) / image_size**2
    label_share = np.where(uses_cutmix, kept, shares[0])
    pixel_share = np.where(uses_cutmix, 1.0, shares[0])
    return torch.from_numpy(np.stack([label_share, pixel_share, *box], axis=1).astype(np.float32))


def mix_images(images: Tensor, params: Tensor) -> Tensor:
    """Return images (N, 3, S, S), each mixed with the image at the mirrored place, by a row of `sample_mixing`."""
    _, share, left, right, top, bottom = params.unbind()
    place = torch.arange(images.shape[-1], device=images.device)
    columns, rows = (place >= left) & (place < right), (place >= top) & (place < bottom)
    shares = torch.where(rows[:, None] & columns, 0.0, share)
    return images.flip(0).lerp(images, shares)


def mix_labels(labels: Tensor, weights: Tensor | None, params: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return soft labels (N,) in [0, 1], and weights in the loss.

    The loss of an image is the mean of the losses for both labels with their shares and weights.
    """
    share = params[0]
    if weights is None:
        return labels.flip(0).lerp(labels, share), None
    own, other = weights * share, weights.flip(0) * (1 - share)
    total = (own + other).clamp(min=torch.finfo(own.dtype).tiny)  # both weights may be 0
    return (labels * own + labels.flip(0) * other) / total, total


def smooth_labels(labels: Tensor, smoothing: float) -> Tensor:
    """Return labels of which a share is divided equally among both classes (Szegedy et al. 2016)."""
    return labels * (1 - smoothing) + smoothing / 2
