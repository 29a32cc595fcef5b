"""Slide a classifier over a large photograph in overlapping tiles, and average their probabilities to a heatmap."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crackdet.config.file_data import TiledData
from crackdet.config.schema import Config, SyntheticData
from crackdet.core.console import bar
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.data.decode import BadImage, resize_square, upright_size
from crackdet.data.sources.factory import open_source
from crackdet.inference.checks import check_tile
from crackdet.inference.images import prefetch
from crackdet.inference.predictor import Predictor
from crackdet.metrics.numpy_metrics import probabilities

MAX_MEASURED = 64  # training photographs whose size is read to choose the tile size

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the photograph


@dataclass(frozen=True)
class Tile:
    """The size of the piece of a photograph that the network sees at a time."""

    width: int  # pixels of the photograph
    height: int
    reason: str

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Heatmap:
    """Crack probabilities over a photograph: each cell holds the mean of all tiles that cover its centre.

    Cells are evenly spaced and about as large as the step between tiles.
    """

    x_edges: NDArray[np.int64]  # (columns + 1,), pixels of the photograph
    y_edges: NDArray[np.int64]  # (rows + 1,)
    probability: NDArray[np.float64]  # (rows, columns)
    tiles: int
    seconds: float

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities (len(y), len(x)) at points of the photograph."""
        columns = np.searchsorted(self.x_edges, x, side="right") - 1
        rows = np.searchsorted(self.y_edges, y, side="right") - 1
        values: NDArray[np.float64] = self.probability[np.ix_(rows, columns)]
        return values


def choose_tile(text: str | None, config: Config) -> Tile:
    """Return the tile size given as `448` or `640x480`, else that of the run's tiles or images.

    Without tiles, the size is the median of the training photographs.

    At that size cracks appear to the network as wide as those it was trained on, provided that the photographs were
    taken from a similar distance. Synthetic images are generated at `data.image_size`.

    Raises:
        UserError: If the text is not a size, or the training photographs cannot be read.
    """
    if text is not None:
        return Tile(*check_tile(text), "given by --tile")
    size = config.data.image_size
    if isinstance(config.data, TiledData):
        return Tile(config.data.tile, config.data.tile, "data.tile of the run")
    if isinstance(config.data, SyntheticData):
        return Tile(size, size, "the size of the synthetic training images")
    try:
        source = open_source(config.data, expand_home(config.runtime.cache))
        records = source.list_records()
    except (UserError, OSError) as error:
        reason = f"the size of the training photographs cannot be read ({error})"
        raise UserError(f"{reason}; give the tile size in pixels of this photograph with --tile") from None
    subset = records[:: max(1, len(records) // MAX_MEASURED)]
    files = (source.file(record.name) for record in subset)
    sizes = list(filter(None, (upright_size(file) for file in files if file is not None)))
    if not sizes:
        raise UserError(f"{source.name}: no training photograph can be read; give the tile size with --tile")
    width, height = (round(median(side)) for side in zip(*sizes, strict=True))
    return Tile(width, height, "the median size of the training photographs")


def scan(predictor: Predictor, photograph: Image.Image, tile: Tile, overlap: float) -> Heatmap:
    """Return the heatmap of an RGB photograph; neighbouring tiles share at least `overlap` of their sides.

    Tiles are cropped, resized and classified batch by batch, so memory does not grow with their number.

    Raises:
        UserError: If the photograph is smaller than a tile.
    """
    if photograph.width < tile.width or photograph.height < tile.height:
        raise UserError(
            f"the photograph has {photograph.width}x{photograph.height} pixels, less than a tile of {tile} "
            f"({tile.reason}); classify it as a whole with crackdet predict, or give a smaller --tile"
        )
    lefts = tile_starts(photograph.width, tile.width, overlap)
    tops = tile_starts(photograph.height, tile.height, overlap)
    boxes: list[Box] = [(x, y, x + tile.width, y + tile.height) for y, x in product(tops, lefts)]
    size, start = predictor.model.image_size, time.monotonic()
    with bar("scanning", len(boxes), log_progress=True) as progress:

        def batches() -> Iterator[NDArray[np.uint8]]:
            crops = prefetch(boxes, predictor.batch_size, lambda box: resize_square(photograph.crop(box), size))
            for batch in crops:
                yield np.stack([pixels for _, pixels in batch if not isinstance(pixels, BadImage)])
                progress.advance(len(batch))

        by_tile = probabilities(predictor.logits(batches()).tolist()).reshape(len(tops), len(lefts))
    x_edges, y_edges = _cell_edges(photograph.width, lefts), _cell_edges(photograph.height, tops)
    in_x, in_y = _covers_centre(x_edges, lefts, tile.width), _covers_centre(y_edges, tops, tile.height)
    mean = (in_y @ by_tile @ in_x.T) / np.outer(in_y.sum(1), in_x.sum(1))
    return Heatmap(x_edges, y_edges, mean, by_tile.size, time.monotonic() - start)


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """Return evenly spaced tile positions along a side of `length` pixels, the last one flush with its end."""
    count = 1 + int(np.ceil((length - tile) / max(1, tile * (1 - overlap))))
    return [round(start) for start in np.linspace(0, length - tile, count)]


def _cell_edges(length: int, starts: list[int]) -> NDArray[np.int64]:
    """Return evenly spaced cell edges about one tile step apart."""
    step = (starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else length
    return np.rint(np.linspace(0, length, 1 + max(1, round(length / step)))).astype(np.int64)


def _covers_centre(edges: NDArray[np.int64], starts: list[int], tile: int) -> NDArray[np.float64]:
    """Return 1 where a tile covers the centre of a cell, else 0: (cells, tiles)."""
    centres = (edges[:-1, None] + edges[1:, None]) / 2
    begin = np.array(starts)
    return ((begin <= centres) & (centres < begin + tile)).astype(np.float64)
