"""The tiles of a photograph, their names, and how much of each is crack."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crackdet.data.tiles import (
    Box,
    box_covers,
    crack_pixels,
    make_grid,
    parse_digest,
    parse_name,
    tile_digest,
    tile_name,
    touches,
)
from tests.data.walls import paint

sides = st.integers(1, 60)
boxes = st.builds(Box, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
corners = st.tuples(sides, sides, sides, sides).map(
    lambda box: (min(box[0], box[2]) - 1, min(box[1], box[3]) - 1, max(box[0], box[2]), max(box[1], box[3]))
)


@given(name=st.text(min_size=1), box=boxes)
@example(name="a#1,2,3x4", box=Box(5, 6, 7, 8))
@example(name="a\n#", box=Box(0, 0, 1, 1))
def test_the_name_of_a_tile_gives_its_photograph_and_box(name: str, box: Box) -> None:
    assert parse_name(tile_name(name, box)) == (name, box)


@pytest.mark.parametrize("name", ["wall.jpg", "wall#3.jpg", "walls/#1,2,3x4/7.jpg", "#1,2,3x4", "wall#1,2,3x4.jpg", ""])
def test_a_name_that_is_of_no_tile_is_returned_as_it_is(name: str) -> None:
    assert parse_name(name) == (name, None)


@given(photographs=st.sets(digests, min_size=2, max_size=4), at=st.lists(boxes, min_size=2, max_size=5))
def test_digests_of_the_tiles_of_one_photograph_are_neighbours_in_sorted_order(
    photographs: set[str], at: list[Box]
) -> None:
    tiles = sorted(tile_digest(photograph, box) for photograph in photographs for box in at)
    order = [parse_digest(digest)[0] for digest in tiles]
    assert order == sorted(order)
    assert set(order) == photographs


@given(width=sides, height=sides, tile=sides, stride=sides)
def test_the_tiles_of_a_photograph_are_inside_it_and_reach_all_its_edges(
    width: int, height: int, tile: int, stride: int
) -> None:
    tiles = make_grid((width, height), tile, stride).boxes
    if min(width, height) < tile:
        assert not tiles
        return
    assert len(set(tiles)) == len(tiles)
    assert all((box.width, box.height) == (tile, tile) for box in tiles)
    assert (min(box.left for box in tiles), min(box.top for box in tiles)) == (0, 0)
    assert (max(box.corners[2] for box in tiles), max(box.corners[3] for box in tiles)) == (width, height)
    for starts in ({box.left for box in tiles}, {box.top for box in tiles}):
        assert np.diff(sorted(starts)).max(initial=0) <= stride


@given(width=sides, height=sides, tile=sides, stride=sides, cracks=st.lists(corners, max_size=4))
def test_the_crack_pixels_of_a_tile_are_those_painted_in_it(
    width: int, height: int, tile: int, stride: int, cracks: list[tuple[int, int, int, int]]
) -> None:
    mask = paint((width, height), *cracks)
    grid = make_grid((width, height), tile, stride)
    expected = [mask[top:bottom, left:right].sum() for left, top, right, bottom in (box.corners for box in grid.boxes)]
    assert crack_pixels(mask, grid).tolist() == expected


@given(width=sides, height=sides, tile=sides, stride=sides, cracks=st.lists(corners, min_size=1, max_size=4))
def test_the_cover_of_a_tile_is_that_of_painted_boxes(
    width: int, height: int, tile: int, stride: int, cracks: list[tuple[int, int, int, int]]
) -> None:
    grid = make_grid((width, height), tile, stride)
    masks = [paint((120, 120), crack) for crack in cracks]
    expected = []
    for left, top, right, bottom in (box.corners for box in grid.boxes):
        inside = [mask[top:bottom, left:right] for mask in masks]
        of_tile = np.any(inside, axis=0).mean()
        of_boxes = [part.sum() / mask.sum() for part, mask in zip(inside, masks, strict=True)]
        expected.append(max(of_tile, *of_boxes))
    assert box_covers([tuple(map(float, crack)) for crack in cracks], grid) == pytest.approx(expected)  # type: ignore[misc]


def test_a_tile_that_shares_one_row_of_pixels_with_a_box_does_not_touch_it() -> None:
    grid = make_grid((64, 64), 32, 32)
    assert touches([(31.0, 0.0, 60.0, 20.0)], grid).tolist() == [False, True, False, False]
    assert touches([(30.0, 0.0, 60.0, 20.0)], grid).tolist() == [True, True, False, False]
    assert touches([(10.0, 10.0, 10.8, 10.8)], grid).tolist() == [True, False, False, False]  # a box below one pixel


def test_without_boxes_no_tile_is_covered() -> None:
    assert touches([], make_grid((64, 64), 32, 32)).tolist() == [False] * 4
    assert box_covers([], make_grid((64, 64), 32, 32)).tolist() == [0, 0, 0, 0]
