"""A classifier slid over a large photograph: tiles as large as what it was trained on, their probabilities as a map."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.config.schema import Config, SyntheticData
from crackdet.core.console import bar
from crackdet.core.errors import UserError
from crackdet.data.decode import BadImage, resize_square
from crackdet.data.sources.factory import open_source
from crackdet.inference.images import read_ahead
from crackdet.inference.predictor import Predictor
from crackdet.metrics.numpy_metrics import probabilities

LOOKED_AT = 64  # photographs of a training, for their size

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the photograph


@dataclass(frozen=True)
class Tile:
    """How large a piece of the photograph is shown to the network at a time."""

    width: int  # pixels of the photograph
    height: int
    reason: str  # why this large

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Heatmap:
    """Probabilities of a crack over a photograph: in each cell the mean of all tiles that lie over its middle.

    Cells are as large as the step from one tile to the next, and even: the edges of tiles would cut slivers.
    """

    x_edges: NDArray[np.int64]  # (columns + 1,), pixels of the photograph
    y_edges: NDArray[np.int64]  # (rows + 1,)
    probability: NDArray[np.float64]  # (rows, columns)
    tiles: int
    seconds: float

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """The map (len(y), len(x)) at points of the photograph."""
        columns = np.searchsorted(self.x_edges, x, side="right") - 1
        rows = np.searchsorted(self.y_edges, y, side="right") - 1
        picked: NDArray[np.float64] = self.probability[np.ix_(rows, columns)]
        return picked


def choose_tile(text: str | None, config: Config) -> Tile:
    """A tile as given (`448` or `640x480`), else as large as the photographs of the training are.

    At that size a crack is as wide for the network as those that it has learned, if the photographs were taken
    alike. Drawings have no size but the one that they are drawn in, `data.image_size`.

    Raises:
        UserError: where the text is no size, or the photographs are not where they were.
    """
    if text is not None:
        match = re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", text)
        if not match:
            raise UserError(f"--tile {text}: must be pixels, as in 448 or 640x480")
        return Tile(int(match[1]), int(match[2] or match[1]), "as given")
    size = config.data.image_size
    if isinstance(config.data, SyntheticData):
        return Tile(size, size, "as the drawings of its training")
    try:
        source = open_source(config.data, Path(config.runtime.cache).expanduser())
        photographs = source.photographs()
    except (UserError, OSError) as error:
        raise UserError(
            f"the photographs of its training cannot be looked at for their size ({error}); "
            "say with --tile how many pixels of this photograph the network shall see at a time"
        ) from None
    some = photographs[:: max(1, len(photographs) // LOOKED_AT)]
    sizes = [found for p in some if (found := _size(Path(source.name) / p.name))]
    if not sizes:
        raise UserError(f"{source.name}: no photograph of the training can be read; give --tile")
    width, height = (round(median(side)) for side in zip(*sizes, strict=True))
    return Tile(width, height, "as the photographs of its training")


def scan(predictor: Predictor, photograph: Image.Image, tile: Tile, overlap: float) -> Heatmap:
    """The probabilities over an RGB photograph; neighbouring tiles share `overlap` of their sides, at least.

    Memory does not grow with the number of tiles: they are cut, resized and judged batch after batch.

    Raises:
        UserError: where the photograph is smaller than a tile.
    """
    if photograph.width < tile.width or photograph.height < tile.height:
        raise UserError(
            f"the photograph has {photograph.width}x{photograph.height} pixels, less than a tile of {tile} "
            f"({tile.reason}); crackdet predict judges it as a whole, --tile gives another size"
        )
    lefts, tops = places(photograph.width, tile.width, overlap), places(photograph.height, tile.height, overlap)
    boxes: list[Box] = [(x, y, x + tile.width, y + tile.height) for y, x in product(tops, lefts)]
    size, began = predictor.model.image_size, time.monotonic()
    with bar("scanning", len(boxes), told=True) as progress:

        def batches() -> Iterator[NDArray[np.uint8]]:
            cut = read_ahead(boxes, predictor.batch_size, lambda box: resize_square(photograph.crop(box), size))
            for batch in cut:
                yield np.stack([pixels for _, pixels in batch if not isinstance(pixels, BadImage)])
                progress.advance(len(batch))

        found = probabilities(predictor.logits(batches()).tolist())
    return _averaged(photograph.size, lefts, tops, tile, found, time.monotonic() - began)


def places(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along a side of `length` pixels: evenly, the last one flush with its end."""
    number = 1 + int(np.ceil((length - tile) / max(1, tile * (1 - overlap))))
    return [round(place) for place in np.linspace(0, length - tile, number)]


def _averaged(
    size: tuple[int, int], lefts: list[int], tops: list[int], tile: Tile, values: NDArray[np.float64], seconds: float
) -> Heatmap:
    width, height = size
    x_edges, y_edges = _even(width, lefts), _even(height, tops)
    over_x, over_y = _lie_over(x_edges, lefts, tile.width), _lie_over(y_edges, tops, tile.height)
    total = over_y @ values.reshape(len(tops), len(lefts)) @ over_x.T
    return Heatmap(x_edges, y_edges, total / np.outer(over_y.sum(1), over_x.sum(1)), len(values), seconds)


def _even(length: int, starts: list[int]) -> NDArray[np.int64]:
    """Edges of cells as long as the step between tiles."""
    step = (starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else length
    return np.rint(np.linspace(0, length, 1 + max(1, round(length / step)))).astype(np.int64)


def _lie_over(edges: NDArray[np.int64], starts: list[int], tile: int) -> NDArray[np.float64]:
    """Which tiles lie over the middle of each cell, (cells, tiles), 0 or 1."""
    middles = (edges[:-1, None] + edges[1:, None]) / 2
    begin = np.array(starts)
    return ((begin <= middles) & (middles < begin + tile)).astype(np.float64)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a photograph as it is shown, from the head of its file."""
    try:
        with Image.open(path) as image:
            lies = image.getexif().get(0x0112, 1) >= 5  # orientations that swap the sides
            return (image.height, image.width) if lies else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
