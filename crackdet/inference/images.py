"""Convert images in any common form to the pixels a network was trained on, and prefetch them in batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.core.files import expand_home
from crackdet.data.decode import BadImage, open_rgb, resize_square
from crackdet.inference.files import find_images

Item = TypeVar("Item")

PREFETCH_BATCHES = 3


def to_pixels(image: object, image_size: int, white_level: float | None = None) -> NDArray[np.uint8]:
    """Return the pixels (image_size, image_size, 3) of an image, preprocessed as in training.

    Args:
        image: A path, a PIL image, an array (H, W), (H, W, 3) or (H, W, 4), or a tensor (C, H, W) with 1, 3 or 4
            channels. Arrays and tensors hold uint8, or floats in [0, 1], which are rounded to uint8.
        image_size: The side of the result.
        white_level: The setting `data.white_level` of the run.

    Raises:
        BadImage: If the image cannot be read or has another type.
    """
    if isinstance(image, (str, Path)):
        image = Path(image)
    elif not isinstance(image, Image.Image):
        image = _from_array(image)
    return resize_square(open_rgb(image, white_level), image_size)


def iter_images(images: object) -> Iterable[object]:
    """Return the images of a single image, a folder, an array or tensor with a batch dimension, or an iterable.

    A folder, also in an iterable, is replaced by the images in it, sorted by path.

    Raises:
        UserError: If a folder contains no images.
    """
    if isinstance(images, (str, Path)):
        return _files(images)
    if isinstance(images, Image.Image):
        return [images]
    if hasattr(images, "ndim") and hasattr(images, "shape"):
        return images if images.ndim == 4 else [images]  # type: ignore[return-value]
    if not isinstance(images, Iterable):
        raise BadImage(f"{type(images).__name__} is not an image; give a path, PIL image, array or tensor")
    return (each for image in images for each in (_files(image) if isinstance(image, (str, Path)) else [image]))


def _files(path: str | Path) -> Iterable[str | Path]:
    return find_images([str(path)]) if expand_home(path).is_dir() else [path]


def prefetch(
    items: Iterable[Item], batch_size: int, read: Callable[[Item], NDArray[np.uint8]]
) -> Iterator[list[tuple[Item, NDArray[np.uint8] | BadImage]]]:
    """Yield batches of items with their pixels or the error of reading them; threads read the next batches ahead."""

    def try_read(item: Item) -> NDArray[np.uint8] | BadImage:
        try:
            return read(item)
        except BadImage as error:
            return error

    with ThreadPoolExecutor() as pool:
        pending: deque[Iterator[tuple[Item, NDArray[np.uint8] | BadImage]]] = deque()
        for batch in batched(items, batch_size):
            pending.append(zip(batch, pool.map(try_read, batch), strict=True))
            if len(pending) > PREFETCH_BATCHES:
                yield list(pending.popleft())
        yield from map(list, pending)


def batched(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """Yield batches as in training: a last batch of one item is merged into the batch before it."""
    iterator = iter(items)
    batch = list(islice(iterator, batch_size))
    while batch:
        following = list(islice(iterator, batch_size))
        if len(following) == 1 and batch_size > 1:
            batch, following = batch + following, []
        yield batch
        batch = following


def _from_array(array: Any) -> Image.Image:
    if hasattr(array, "detach"):  # a tensor, recognised without importing torch
        tensor = array.detach().cpu()
        if tensor.dtype.is_floating_point:
            tensor = tensor.float()  # numpy has no bfloat16
        array = tensor.movedim(0, -1).numpy() if tensor.ndim == 3 else tensor.numpy()
    if not isinstance(array, np.ndarray):
        raise BadImage(f"{type(array).__name__} is not an image; give a path, PIL image, array or tensor")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise BadImage(f"shape {array.shape} is not an image: arrays are (H, W, 3), tensors (3, H, W)")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # also true for NaN
            raise BadImage(f"floats must be in [0, 1], these range from {array.min():g} to {array.max():g}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise BadImage(f"pixels must be uint8, or floats in [0, 1]; these are {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))
