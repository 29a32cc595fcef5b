"""Tiles: squares of a photograph that are images of their own. No file of a tile is written.

A tile is named `<photograph>#<left>,<top>,<width>x<height>`, in pixels of the upright photograph. Its digest is that of
the photograph with the same end, so the digests of the tiles of one photograph are neighbours in sorted order.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NAME = re.compile(r"(.+)#(\d+),(\d+),(\d+)x(\d+)", re.DOTALL)
EDGE = 1.0  # pixels: tools count pixels from 0 or from 1, and round
DIGEST = re.compile(r"(.+):(\d+),(\d+),(\d+)x(\d+)", re.DOTALL)


class Box(NamedTuple):
    """A rectangle of whole pixels of a photograph."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.width}x{self.height}"

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, as Pillow's `crop` takes them; right and bottom are exclusive."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def tile_name(photograph: str, box: Box) -> str:
    return f"{photograph}#{box}"


def tile_digest(photograph: str, box: Box) -> str:
    return f"{photograph}:{box}"


def parse_name(name: str) -> tuple[str, Box | None]:
    """Return the photograph and the box of a tile; the name itself and None if it names no tile."""
    return _parse(NAME, name)


def parse_digest(digest: str) -> tuple[str, Box | None]:
    """Return the digest of the photograph and the box of a tile; the digest itself and None if it is of no tile."""
    return _parse(DIGEST, digest)


def _parse(pattern: re.Pattern[str], text: str) -> tuple[str, Box | None]:
    if match := pattern.fullmatch(text):
        return match[1], Box(*map(int, match.groups()[1:]))
    return text, None


class Grid(NamedTuple):
    """The tiles of a photograph: the product of their positions along both sides."""

    lefts: NDArray[np.int64]
    tops: NDArray[np.int64]
    tile: int  # pixels a side

    @property
    def boxes(self) -> list[Box]:
        """The boxes row by row."""
        lefts = self.lefts.tolist()
        return [Box(left, top, self.tile, self.tile) for top in self.tops.tolist() for left in lefts]


def make_grid(size: tuple[int, int], tile: int, stride: int) -> Grid:
    """Return the tiles of a photograph; the last row and column end at its edge. A smaller photograph has no tiles.

    Args:
        size: Width and height of the photograph in pixels.
        tile: Side of a tile in pixels.
        stride: Distance between tiles in pixels.
    """
    return Grid(_positions(size[0], tile, stride), _positions(size[1], tile, stride), tile)


def _positions(length: int, tile: int, stride: int) -> NDArray[np.int64]:
    if length < tile:
        return np.empty(0, np.int64)
    last = length - tile
    return np.append(np.arange(0, last, stride), last)


def crack_pixels(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.int64]:
    """Return the number of crack pixels of each tile, row by row.

    Args:
        mask: (height, width), True is crack.
    """
    if len(grid.lefts) == 0 or len(grid.tops) == 0:
        return np.empty(0, np.int64)
    x_edges, y_edges = (np.unique([*starts, *(starts + grid.tile)]) for starts in (grid.lefts, grid.tops))
    # the number of pixels between neighbouring edges of tiles, since tiles may overlap; the last tile ends at the edge
    cells = np.add.reduceat(np.add.reduceat(mask, x_edges[:-1], axis=1, dtype=np.int64), y_edges[:-1], axis=0)
    in_y, in_x = _inside(grid.tops, grid.tile, y_edges), _inside(grid.lefts, grid.tile, x_edges)
    return np.asarray((in_y @ cells @ in_x.T).ravel())


def box_covers(boxes: Sequence[tuple[float, float, float, float]], grid: Grid) -> NDArray[np.float64]:
    """Return for each tile, row by row, the largest of two shares: of the tile in any box, and of one box in the tile.

    Args:
        boxes: Left, top, right and bottom of each box.
    """
    if not boxes:
        return np.zeros(len(grid.lefts) * len(grid.tops))
    left, top, right, bottom = np.array(boxes, np.float64).T
    in_x, in_y = _overlaps(grid.lefts, grid.tile, left, right), _overlaps(grid.tops, grid.tile, top, bottom)
    of_box = (in_y[:, None, :] * in_x[None, :, :] / ((right - left) * (bottom - top))).max(axis=-1)
    # the union of the boxes: between the edges of boxes, each cell is either inside a box or outside
    x_edges, y_edges = np.unique([left, right]), np.unique([top, bottom])
    x_centres, y_centres = (x_edges[:-1] + x_edges[1:]) / 2, (y_edges[:-1] + y_edges[1:]) / 2
    columns = (left <= x_centres[:, None]) & (x_centres[:, None] < right)
    rows = (top <= y_centres[:, None]) & (y_centres[:, None] < bottom)
    covered = (rows[:, None, :] & columns[None, :, :]).any(axis=-1).astype(np.float64)
    cell_x = _overlaps(grid.lefts, grid.tile, x_edges[:-1], x_edges[1:])
    cell_y = _overlaps(grid.tops, grid.tile, y_edges[:-1], y_edges[1:])
    of_tile = cell_y @ covered @ cell_x.T / grid.tile**2
    return np.asarray(np.maximum(of_tile, of_box).clip(0, 1).ravel())


def touches(boxes: Sequence[tuple[float, float, float, float]], grid: Grid) -> NDArray[np.bool_]:
    """Return for each tile, row by row, whether it shares more than an edge of `EDGE` pixels with any box."""
    if not boxes:
        return np.zeros(len(grid.lefts) * len(grid.tops), np.bool_)
    left, top, right, bottom = np.array(boxes, np.float64).T
    in_x = _overlaps(grid.lefts, grid.tile, left, right) > np.minimum(EDGE, (right - left) / 2)
    in_y = _overlaps(grid.tops, grid.tile, top, bottom) > np.minimum(EDGE, (bottom - top) / 2)
    return np.asarray((in_y[:, None, :] & in_x[None, :, :]).any(axis=-1).ravel())


def _inside(starts: NDArray[np.int64], tile: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 1 for each cell between two edges that is in a tile: (tiles, cells)."""
    return ((starts[:, None] <= edges[:-1]) & (edges[1:] <= starts[:, None] + tile)).astype(np.int64)


def _overlaps(
    starts: NDArray[np.int64], tile: int, begin: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the lengths that tiles share with intervals: (tiles, intervals)."""
    shared = np.minimum(starts[:, None] + tile, end) - np.maximum(starts[:, None], begin)
    return np.asarray(shared.clip(0))
