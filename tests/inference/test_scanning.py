"""A classifier slid over a large photograph: every pixel judged, as the classifier judges its crop."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crackdet.config.composing import compose
from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inference.overlay import draw_overlay
from crackdet.inference.regions import find_regions, to_coco
from crackdet.inference.scanning import Heatmap, Tile, choose_tile, places, scan


def heat_of(probability: list[list[float]], cell: int = 10) -> Heatmap:
    values = np.array(probability)
    rows, columns = values.shape
    return Heatmap(np.arange(columns + 1) * cell, np.arange(rows + 1) * cell, values, values.size, 1.0)


@given(st.integers(1, 300), st.integers(0, 2000), st.floats(0, 0.95))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_a_side_and_overlap_as_much_as_is_asked(tile: int, more: int, overlap: float) -> None:
    found = places(tile + more, tile, overlap)
    assert found[0] == 0 and found[-1] == more
    steps = np.diff(found)
    assert (steps >= 0).all() and (steps <= max(1, tile * (1 - overlap)) + 1).all()


def test_without_overlap_the_map_is_what_the_classifier_says_of_each_crop(photographed: LoadedRun) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 180, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((240, 144))
    heat = scan(photographed.predictor("cpu"), picture, Tile(60, 48, ""), 0.0)
    crops = [picture.crop((x, y, x + 60, y + 48)) for y in (0, 48, 96) for x in (0, 60, 120, 180)]
    assert heat.probability.ravel().tolist() == photographed.predict(crops, device="cpu").tolist()
    assert heat.x_edges.tolist() == [0, 60, 120, 180, 240] and heat.y_edges.tolist() == [0, 48, 96, 144]


def test_where_tiles_overlap_the_map_is_their_mean(photographed: LoadedRun) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 90, 3), dtype=np.uint8))
    heat = scan(photographed.predictor("cpu"), picture, Tile(60, 48, ""), 0.5)
    left, right = photographed.predict([picture.crop((0, 0, 60, 48)), picture.crop((30, 0, 90, 48))], device="cpu")
    assert heat.probability.tolist() == [[left, (left + right) / 2, right]]
    assert heat.at(np.array([0.5, 59.5, 89.5]), np.array([47.5])).tolist() == heat.probability.tolist()


def test_memory_does_not_grow_with_the_number_of_tiles(photographed: LoadedRun) -> None:
    picture = Image.new("RGB", (600, 400), "grey")
    predictor = photographed.predictor("cpu", batch_size=8)
    tracemalloc.start()
    heat = scan(predictor, picture, Tile(40, 40, ""), 0.75)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    all_tiles = heat.tiles * 32 * 32 * 3
    assert all_tiles > 6e6 and peak < all_tiles / 3, "pixels of tiles live for a few batches only"


def test_a_photograph_smaller_than_a_tile_is_refused(photographed: LoadedRun) -> None:
    with pytest.raises(UserError, match="59x300 pixels, less than a tile of 60x48"):
        scan(photographed.predictor("cpu"), Image.new("RGB", (59, 300)), Tile(60, 48, ""), 0.5)


def test_a_tile_is_as_large_as_the_photographs_of_the_training(photographed: LoadedRun, drawn: LoadedRun) -> None:
    assert str(choose_tile(None, photographed.config)) == "60x48"
    assert str(choose_tile(None, drawn.config)) == "32x32"
    assert str(choose_tile("640x480", drawn.config)) == "640x480" and str(choose_tile("7", drawn.config)) == "7x7"
    for text in ("0", "3x", "wide"):
        with pytest.raises(UserError, match="--tile"):
            choose_tile(text, drawn.config)


def test_photographs_that_are_gone_leave_the_tile_to_the_user(tmp_path: Path) -> None:
    config = compose(["data=folder", f"data.root={tmp_path / 'gone'}"])
    with pytest.raises(UserError, match=r"no such folder.*say with --tile"):
        choose_tile(None, config)
    assert choose_tile("32", config).width == 32


def test_regions_are_cells_that_touch_with_the_surest_first() -> None:
    heat = heat_of([[0.6, 0.1, 0.0, 0.0], [0.0, 0.7, 0.0, 0.0], [0.0, 0.0, 0.0, 0.9]])
    surest, other = find_regions(heat, 0.5)
    assert (surest.left, surest.top, surest.right, surest.bottom, surest.area, surest.score) == (
        30,
        20,
        40,
        30,
        100,
        0.9,
    )
    assert (other.left, other.top, other.right, other.bottom, other.area, other.score) == (0, 0, 20, 20, 200, 0.7)
    assert find_regions(heat, 0.9) == []


def test_boxes_are_coco(tmp_path: Path) -> None:
    heat = heat_of([[0.0, 0.8, 0.9]])
    coco = json.loads(json.dumps(to_coco(find_regions(heat, 0.5), "wall.jpg", 30, 10, {"run": "x"})))
    (box,) = coco["annotations"]
    assert box["bbox"] == [10, 0, 20, 10] and box["area"] == 200 and box["score"] == 0.9
    assert box["category_id"] in {category["id"] for category in coco["categories"]}
    assert box["image_id"] == coco["images"][0]["id"] and coco["images"][0]["width"] == 30


def test_the_overlay_colours_what_is_probable_and_leaves_the_rest() -> None:
    heat = heat_of([[0.0, 1.0]], cell=100)
    picture = Image.new("RGB", (200, 100), (90, 90, 90))
    page = np.asarray(draw_overlay(picture, heat, [], ""))
    assert page.shape[0] > 100 and page.shape[1:] == (200, 3), "a key below"
    assert (page[:100, :100] == 90).all()
    assert (page[:100, 100:, 0] > 120).all() and (page[:100, 100:, 2] < 90).all()
    large = draw_overlay(Image.new("RGB", (5000, 2500)), heat_of([[0.0, 1.0]], cell=2500), [], "")
    assert large.width == 2000
