"""Whatever a user has of a picture -> the pixels that a network was trained on; and many of them, read ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.data.decode import BadImage, open_rgb, resize_square

Item = TypeVar("Item")

AHEAD = 3  # batches that are read in advance


def to_pixels(picture: object, image_size: int) -> NDArray[np.uint8]:
    """The pixels (image_size, image_size, 3) of a picture, prepared as the photographs of a training are.

    A path, a PIL image, an array (H, W), (H, W, 3) or (H, W, 4), or a tensor (C, H, W) with 1, 3 or 4 channels;
    arrays and tensors hold bytes, or floats in [0, 1], which are rounded to bytes.

    Raises:
        BadImage: where it cannot be read, or is nothing of these.
    """
    if isinstance(picture, (str, Path)):
        picture = Path(picture)
    elif not isinstance(picture, Image.Image):
        picture = _from_array(picture)
    return resize_square(open_rgb(picture), image_size)


def each(pictures: object) -> Iterable[object]:
    """The pictures in what is one of them, an array or a tensor of several, or an iterable."""
    if isinstance(pictures, (str, Path, Image.Image)):
        return [pictures]
    if hasattr(pictures, "ndim") and hasattr(pictures, "shape"):
        return pictures if pictures.ndim == 4 else [pictures]  # type: ignore[return-value]
    if not isinstance(pictures, Iterable):
        raise BadImage(f"{type(pictures).__name__} is no picture; give a path, PIL image, array or tensor")
    return pictures


def read_ahead(
    items: Iterable[Item], batch_size: int, read: Callable[[Item], NDArray[np.uint8]], num_workers: int | None = None
) -> Iterator[list[tuple[Item, NDArray[np.uint8] | BadImage]]]:
    """Batches of items with their pixels, or why there are none; threads read the next ones meanwhile."""
    with ThreadPoolExecutor(num_workers or None) as pool:
        pending: deque[list[tuple[Item, Future[NDArray[np.uint8]]]]] = deque()
        for batch in batched(items, batch_size):
            pending.append([(item, pool.submit(read, item)) for item in batch])
            if len(pending) > AHEAD:
                yield [(item, _outcome(future)) for item, future in pending.popleft()]
        while pending:
            yield [(item, _outcome(future)) for item, future in pending.popleft()]


def batched(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """Batches as in training: a single item left over joins the last one."""
    iterator = iter(items)
    held = list(islice(iterator, batch_size))
    while held:
        following = list(islice(iterator, batch_size))
        if len(following) == 1 and batch_size > 1:
            held, following = held + following, []
        yield held
        held = following


def _outcome(future: "Future[NDArray[np.uint8]]") -> NDArray[np.uint8] | BadImage:
    try:
        return future.result()
    except BadImage as error:
        return error


def _from_array(array: Any) -> Image.Image:
    if hasattr(array, "detach"):  # a tensor; asked for in this way, torch need not be imported
        channels_first = array.detach().cpu()
        if channels_first.dtype.is_floating_point:
            channels_first = channels_first.float()  # numpy knows no bfloat16
        array = channels_first.numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    if not isinstance(array, np.ndarray):
        raise BadImage(f"{type(array).__name__} is no picture; give a path, PIL image, array or tensor")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise BadImage(f"shape {array.shape} is no picture: arrays are (H, W, 3), tensors (3, H, W)")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # false for NaN too
            raise BadImage(f"floats must be in [0, 1], these are from {array.min():g} to {array.max():g}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise BadImage(f"{array.dtype} is no type of pixels: bytes (uint8), or floats in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(array))
