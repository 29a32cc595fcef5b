"""What is random in the images of an epoch; a resumed epoch draws the same."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crackdet.config.schema import Config
from crackdet.data.augmentation import sample_params, sample_view_params
from crackdet.data.batches import Batch, to_device
from crackdet.data.dataset import Dataset, FeatureDataset
from crackdet.data.mixing import sample_mixing
from crackdet.data.rand_augment import Draws, rand_augment, sample_operations, sample_view_operations


@dataclass(frozen=True)
class EpochDraws:
    """The draws of one epoch: a row for each image, or for each batch; None if they are not used."""

    operations: Draws | None  # of RandAugment, which runs image by image
    magnitude: float | None  # of RandAugment
    augmentation: Tensor | None  # (images, parameters), on the device
    mixing: Tensor | None  # (batches, parameters), on the device

    def inputs(self, batch: Batch, indices: NDArray[np.int64]) -> Tensor:
        """Return the inputs of a batch of the images with these indices, after RandAugment."""
        if self.operations is None or self.magnitude is None:
            return batch.inputs
        return rand_augment(batch.inputs, self.operations[indices], self.magnitude)

    def of_batch(self, batch: Batch, number: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the parameters of a batch for `augment`, and for `mix_images`."""
        augmentation = None if self.augmentation is None else self.augmentation[batch.indices]
        return augmentation, None if self.mixing is None else self.mixing[number]


def sample_epoch(config: Config, images: Dataset, epoch: int, num_batches: int, device: torch.device) -> EpochDraws:
    """Draw for the training images of an epoch; frozen features are augmented already."""
    settings, trainer, seed = config.data.augmentation, config.trainer, config.seed
    mixing = params = operations = None
    if trainer.mixup is not None or trainer.cutmix is not None:
        size = config.data.image_size
        mixing = to_device(sample_mixing(num_batches, seed, epoch, size, trainer.mixup, trainer.cutmix), device)
    if settings.is_active and not isinstance(images, FeatureDataset):
        if settings.views is None:
            operations = sample_operations(len(images), seed, epoch)
            params = sample_params(len(images), seed, epoch)
        else:
            view = (epoch - 1) % settings.views
            operations = sample_view_operations(images.records, view)
            params = sample_view_params(images.records, view)
        params = to_device(params, device)
    return EpochDraws(operations, settings.rand_augment, params, mixing)
