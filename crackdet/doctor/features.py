"""Feature vectors of all images of a data set, and their appearance, in one pass over the pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crackdet.core.console import bar
from crackdet.data.batches import iter_batches, make_batches, to_device, to_input
from crackdet.data.dataset import ImageDataset
from crackdet.doctor.descriptor import describe_batch
from crackdet.models.classifier import Classifier

Floats = NDArray[np.float32]
Descriptor = Callable[[NDArray[np.uint8]], Floats]  # images (N, S, S, 3) -> features (N, D)

BATCH_SIZE = 64
SHARPNESS_SIDE = 128  # pixels: the sharpness of all images is measured at this size
COLOURS = ("red / green", "blue / green")
APPEARANCE = (*COLOURS, "brightness", "contrast", "sharpness")


@dataclass(frozen=True)
class Measured:
    """What is known of the images of a split, in the order of its records."""

    features: Floats  # (N, D)
    appearance: Floats  # (N, 5), columns as in APPEARANCE


def measure(dataset: ImageDataset, descriptor: Descriptor = describe_batch, num_workers: int | None = None) -> Measured:
    """Return the features and the appearance of the images of a split.

    Args:
        num_workers: As `runtime.num_workers`; for images that are streamed from their files.
    """
    features, appearance = [], [np.empty((0, len(APPEARANCE)), np.float32)]
    batches = make_batches(np.arange(len(dataset)), BATCH_SIZE)
    with bar("measuring images", len(dataset), log_progress=True) as progress:
        for batch in iter_batches(dataset, batches, torch.device("cpu"), num_workers):
            pixels = batch.inputs.numpy()
            features.append(descriptor(pixels))
            appearance.append(np.stack([_appearance(image) for image in pixels]))
            progress.advance(len(pixels))
    return Measured(np.concatenate(features) if features else np.empty((0, 0), np.float32), np.concatenate(appearance))


def join_measured(parts: Sequence[Measured]) -> Measured:
    """Return the measurements of several splits as one, without those of empty splits."""
    parts = [part for part in parts if len(part.features)]
    return Measured(
        np.concatenate([part.features for part in parts]), np.concatenate([part.appearance for part in parts])
    )


def network_descriptor(model: Classifier) -> Descriptor:
    """Return a descriptor: the last feature map of a network, averaged over its positions.

    Args:
        model: A network of `crackdet.models.factory.build` or `LoadedRun.model`. Its mode becomes evaluation.
    """
    model.eval()
    device = model.input_mean.device
    size = [model.image_size, model.image_size]

    @torch.inference_mode()
    def describe(images: NDArray[np.uint8]) -> Floats:
        pixels = to_input(to_device(torch.tensor(images), device))
        if list(pixels.shape[2:]) != size:
            pixels = nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        maps = model.feature_extractor((pixels - model.input_mean) / model.input_std)
        features: Floats = maps.flatten(2).mean(2).numpy(force=True) if maps.ndim > 2 else maps.numpy(force=True)
        return features

    return describe


def _appearance(image: NDArray[np.uint8]) -> Floats:
    """Return the colour balance, mean and deviation of grey values in [0, 1], and the sharpness of an image.

    The sharpness is the logarithm of the variance of the Laplacian: Pech-Pacheco et al., "Diatom autofocusing in
    brightfield microscopy" (2000).
    """
    red, green, blue = cv2.mean(image)[:3]
    small = cv2.resize(image, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    sharpness = np.log10(cv2.Laplacian(grey, cv2.CV_32F).var() + 1)
    values = ((red + 1) / (green + 1), (blue + 1) / (green + 1), grey.mean() / 255, grey.std() / 255, sharpness)
    return np.array(values, np.float32)
