"""Decoded photographs -> batches of tensors on a device, in an order that (seed, epoch) decides."""

import gc
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crackdet.data.dataset import ImageDataset
from crackdet.data.streaming import stream

GPU_SHARE = 0.3  # of the free memory of a GPU may hold the data set
_gpu_cache: dict[tuple[Path | None, frozenset[str], torch.device], Tensor] = {}  # the pixels of a cache file on a GPU


@dataclass(frozen=True)
class Batch:
    pixels: Tensor  # (N, S, S, 3), bytes
    labels: Tensor  # (N,), float32: 1 is a crack
    indices: Tensor  # (N,), places in the image set

    @property
    def images(self) -> Tensor:
        """(N, 3, S, S), float32 in [0, 1], channels last in memory."""
        return to_input(self.pixels)


def shuffled_indices(num_images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the training images in one epoch."""
    generator = np.random.Generator(np.random.Philox(key=(1 << 96) + (seed << 32) + epoch))
    return generator.permutation(num_images)


def make_batches(order: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """The order cut into batches; a single image left over joins the last batch, as BatchNorm needs two."""
    pieces = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if batch_size > 1 and len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces


def iter_batches(
    images: ImageDataset, batches: Sequence[NDArray[np.int64]], device: torch.device, num_workers: int | None
) -> Iterator[Batch]:
    """The batches, one after the other, on the device; from its own memory where the whole set has room there."""
    if not batches:
        return
    sizes = [len(indices) for indices in batches]
    order = torch.from_numpy(np.concatenate(batches))
    # all at once: for each batch a GPU would have to be handed three small things more
    indices = torch.split(to_device(order, device), sizes)
    labels = torch.split(to_device(torch.from_numpy(images.labels).float()[order], device), sizes)
    pixels: Iterator[Tensor]
    if images.pixels.file is None:
        pixels = (to_device(torch.from_numpy(array), device) for array in stream(images, batches, num_workers))
    else:
        pixels = _gathered(images, order, sizes, device)
    for of_batch in zip(pixels, labels, indices, strict=True):
        yield Batch(*of_batch)


def to_input(pixels: Tensor) -> Tensor:
    """(N, S, S, 3) bytes -> (N, 3, S, S) floats in [0, 1], on their device: it is the bytes, a quarter, that travel."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def _gathered(images: ImageDataset, order: Tensor, sizes: list[int], device: torch.device) -> Iterator[Tensor]:
    assert images.pixels.file is not None, "decoded"
    rows = torch.from_numpy(images.rows)[order]
    resident = _gpu_cache.get(_key(images, device))
    if resident is not None:
        for batch in torch.split(to_device(rows, device), sizes):
            yield resident.index_select(0, batch)
    else:
        pixels = _mapped(images)
        for batch in torch.split(rows, sizes):
            yield to_device(pixels.index_select(0, batch), device)


def _mapped(images: ImageDataset) -> Tensor:
    """All pixels, in pages that are shared: to be read only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(images.pixels.array)


def cache_on_gpu(images: ImageDataset, device: torch.device) -> None:
    """Takes all pixels into the GPU's memory, for this run and the next ones on the same images.

    They stay out where they would take more than a share of what is free, which training needs. What earlier runs of
    the process have left there is given back first, other images among it.
    """
    if device.type != "cuda":
        return
    key = _key(images, torch.empty(0, device=device).device)  # with its number
    if key not in _gpu_cache:
        _gpu_cache.clear()
    gc.collect()  # a run that failed hangs together in circles
    torch.cuda.empty_cache()
    if images.pixels.file is not None and key not in _gpu_cache:
        free, _ = torch.cuda.mem_get_info(device)
        if images.pixels.array.nbytes <= GPU_SHARE * free:
            _gpu_cache[key] = _mapped(images).to(device)


def _key(images: ImageDataset, device: torch.device) -> tuple[Path | None, frozenset[str], torch.device]:
    """What decides the pixels: a file's name says which photographs, but not which of them could be read."""
    return images.pixels.file, frozenset(images.pixels.bad), device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device, without waiting for what the device is doing."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
