"""Batches of images or of their features, as tensors on a device, in an order that (seed, epoch) determines."""

import gc
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crackdet.data.dataset import CachedArray, Dataset, ImageDataset
from crackdet.data.streaming import stream

MAX_GPU_SHARE = 0.3  # of a GPU's free memory that the data set may take; training needs the rest


@dataclass(frozen=True)
class Batch:
    inputs: Tensor  # (N, S, S, 3), bytes of pixels; or (N, D), features
    labels: Tensor  # (N,), float32: 1 is a crack
    indices: Tensor  # (N,), positions in the dataset
    weights: Tensor | None = None  # (N,), float32, in the loss; None: all 1


def shuffled_indices(num_images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the training images in one epoch."""
    generator = np.random.Generator(np.random.Philox(key=(1 << 96) + (seed << 32) + epoch))
    return generator.permutation(num_images)


def make_batches(order: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Cut an order into batches; a single image left over joins the last batch, since BatchNorm needs two."""
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def iter_batches(
    dataset: Dataset, batches: Sequence[NDArray[np.int64]], device: torch.device, num_workers: int | None
) -> Iterator[Batch]:
    """Yield batches on the device: from its own memory if the dataset is there, else from the cache or the files."""
    if not batches:
        return
    sizes = [len(indices) for indices in batches]
    order = torch.from_numpy(np.concatenate(batches))
    # labels and indices of the whole epoch at once: three small transfers per batch would keep a GPU waiting
    indices = torch.split(to_device(order, device), sizes)
    labels = torch.split(to_device(torch.from_numpy(dataset.labels).float()[order], device), sizes)
    weights: Iterable[Tensor | None] = repeat(None, len(sizes))
    if dataset.weights is not None:
        weights = torch.split(to_device(torch.from_numpy(dataset.weights)[order], device), sizes)
    inputs: Iterator[Tensor]
    if isinstance(dataset, ImageDataset) and dataset.pixels.file is None:
        inputs = (to_device(torch.from_numpy(array), device) for array in stream(dataset, batches, num_workers))
    else:
        inputs = _from_cache(dataset, order, sizes, device)
    for fields in zip(inputs, labels, indices, weights, strict=True):
        yield Batch(*fields)


def to_input(inputs: Tensor) -> Tensor:
    """Convert pixels, (N, S, S, 3) bytes, to (N, 3, S, S) float32 in [0, 1], channels last in memory; keep features.

    To be called on the device, since bytes transfer faster.
    """
    return inputs if inputs.is_floating_point() else inputs.permute(0, 3, 1, 2).float().div_(255)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device without waiting for the device."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class GpuCache:
    """One cached array in the memory of a GPU, kept for the next runs on the same images."""

    def __init__(self) -> None:
        self._key: tuple[Path | None, frozenset[str], torch.device] | None = None
        self._array: Tensor | None = None

    def get(self, dataset: Dataset, device: torch.device) -> Tensor | None:
        """Return the array, with a row for each image; None if it is not on this device."""
        return self._array if self._key == self._key_of(dataset, device) else None

    def load(self, dataset: Dataset, device: torch.device) -> None:
        """Replace the content by the array of a dataset, unless it needs more than a share of the free memory."""
        device = torch.empty(0, device=device).device  # with its index
        if self.get(dataset, device) is None:
            self._key = self._array = None
        gc.collect()  # a failed run can leave reference cycles that hold GPU memory
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        if dataset.cached.file and self._array is None and dataset.cached.array.nbytes <= MAX_GPU_SHARE * free:
            self._key, self._array = self._key_of(dataset, device), mapped_tensor(dataset.cached).to(device)

    @staticmethod
    def _key_of(dataset: Dataset, device: torch.device) -> tuple[Path | None, frozenset[str], torch.device]:
        """The file name identifies the images, but not which of them could be read."""
        return dataset.cached.file, frozenset(dataset.cached.unreadable), device


_gpu_cache = GpuCache()


def cache_on_gpu(dataset: Dataset, device: torch.device) -> None:
    """Keep the array of a dataset on a GPU if they fit; first free the memory that earlier runs have left there."""
    if device.type == "cuda":
        _gpu_cache.load(dataset, device)


def _from_cache(dataset: Dataset, order: Tensor, sizes: list[int], device: torch.device) -> Iterator[Tensor]:
    rows = torch.from_numpy(dataset.rows)[order]
    on_gpu = _gpu_cache.get(dataset, device)
    if on_gpu is not None:
        for batch in torch.split(to_device(rows, device), sizes):
            yield on_gpu.index_select(0, batch)
    else:
        array = mapped_tensor(dataset.cached)
        for batch in torch.split(rows, sizes):
            yield to_device(array.index_select(0, batch), device)


def mapped_tensor(cached: CachedArray) -> Tensor:
    """Return a cached array as a tensor; its memory is shared and read-only. 16-bit integers are bits of bfloat16."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tensor = torch.from_numpy(cached.array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.int16 else tensor
