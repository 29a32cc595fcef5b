"""Scanning a large photograph gives each tile the probability that the classifier gives its crop."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crackdet.core.errors import UserError
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inference.overlay import draw_overlay
from crackdet.inference.regions import Region, find_regions, to_coco
from crackdet.inference.scanning import Heatmap, Tile, choose_tile, scan, tile_starts
from tests.composing import compose


def heatmap_of(probability: list[list[float]], cell: int = 10) -> Heatmap:
    values = np.array(probability)
    rows, columns = values.shape
    return Heatmap(np.arange(columns + 1) * cell, np.arange(rows + 1) * cell, values, values.size, 1.0)


@given(st.integers(1, 300), st.integers(0, 2000), st.floats(0, 0.95))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_a_side_with_at_least_the_requested_overlap(tile: int, rest: int, overlap: float) -> None:
    starts = tile_starts(tile + rest, tile, overlap)
    assert starts[0] == 0 and starts[-1] == rest
    steps = np.diff(starts)
    assert (steps >= 0).all() and (steps <= max(1, tile * (1 - overlap)) + 1).all()


def test_without_overlap_the_heatmap_equals_the_predictions_of_the_crops(photo_run: LoadedRun) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 180, 3), dtype=np.uint8)
    photograph = Image.fromarray(noise).resize((240, 144))
    heatmap = scan(photo_run.predictor("cpu"), photograph, Tile(60, 48, ""), 0.0)
    crops = [photograph.crop((x, y, x + 60, y + 48)) for y in (0, 48, 96) for x in (0, 60, 120, 180)]
    assert heatmap.probability.ravel().tolist() == photo_run.predict(crops, device="cpu").tolist()
    assert heatmap.x_edges.tolist() == [0, 60, 120, 180, 240] and heatmap.y_edges.tolist() == [0, 48, 96, 144]


def test_overlapping_tiles_are_averaged(photo_run: LoadedRun) -> None:
    photograph = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 90, 3), dtype=np.uint8))
    heatmap = scan(photo_run.predictor("cpu"), photograph, Tile(60, 48, ""), 0.5)
    left, right = photo_run.predict([photograph.crop((0, 0, 60, 48)), photograph.crop((30, 0, 90, 48))], device="cpu")
    assert heatmap.probability.tolist() == [[left, (left + right) / 2, right]]
    assert heatmap.at(np.array([0.5, 59.5, 89.5]), np.array([47.5])).tolist() == heatmap.probability.tolist()


def test_memory_does_not_grow_with_the_number_of_tiles(photo_run: LoadedRun) -> None:
    photograph = Image.new("RGB", (600, 400), "grey")
    predictor = photo_run.predictor("cpu", batch_size=8)
    tracemalloc.start()
    heatmap = scan(predictor, photograph, Tile(40, 40, ""), 0.75)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    all_tiles = heatmap.tiles * 32 * 32 * 3
    assert all_tiles > 6e6 and peak < all_tiles / 3, "pixels of tiles are kept for a few batches only"


def test_a_photograph_smaller_than_a_tile_is_rejected(photo_run: LoadedRun) -> None:
    with pytest.raises(UserError, match="59x300 pixels, less than a tile of 60x48"):
        scan(photo_run.predictor("cpu"), Image.new("RGB", (59, 300)), Tile(60, 48, ""), 0.5)


def test_the_default_tile_is_as_large_as_the_training_images(photo_run: LoadedRun, synthetic_run: LoadedRun) -> None:
    assert str(choose_tile(None, photo_run.config)) == "60x48"
    assert str(choose_tile(None, synthetic_run.config)) == "32x32"
    assert (
        str(choose_tile("640x480", synthetic_run.config)) == "640x480"
        and str(choose_tile("7", synthetic_run.config)) == "7x7"
    )
    for text in ("0", "3x", "wide"):
        with pytest.raises(UserError, match="--tile"):
            choose_tile(text, synthetic_run.config)


def test_the_tile_size_is_required_if_the_training_photographs_are_gone(tmp_path: Path) -> None:
    config = compose(["data=folder", f"data.root={tmp_path / 'gone'}"])
    with pytest.raises(UserError, match=r"no such folder.*with --tile"):
        choose_tile(None, config)
    assert choose_tile("32", config).width == 32


def test_touching_cells_form_a_region_and_the_highest_score_comes_first() -> None:
    heatmap = heatmap_of([[0.6, 0.1, 0.0, 0.0], [0.0, 0.7, 0.0, 0.0], [0.0, 0.0, 0.0, 0.9]])
    best, other = find_regions(heatmap, 0.5)
    assert best == Region(left=30, top=20, right=40, bottom=30, area=100, score=0.9)
    assert other == Region(left=0, top=0, right=20, bottom=20, area=200, score=0.7)
    assert find_regions(heatmap, 0.9) == []


def test_boxes_are_valid_coco_annotations() -> None:
    heatmap = heatmap_of([[0.0, 0.8, 0.9]])
    coco = json.loads(json.dumps(to_coco(find_regions(heatmap, 0.5), "wall.jpg", 30, 10, {"run": "x"})))
    (box,) = coco["annotations"]
    assert box["bbox"] == [10, 0, 20, 10] and box["area"] == 200 and box["score"] == 0.9
    assert box["category_id"] in {category["id"] for category in coco["categories"]}
    assert box["image_id"] == coco["images"][0]["id"] and coco["images"][0]["width"] == 30


def test_the_overlay_colours_probable_cells_and_leaves_the_rest() -> None:
    heatmap = heatmap_of([[0.0, 1.0]], cell=100)
    photograph = Image.new("RGB", (200, 100), (90, 90, 90))
    overlay = np.asarray(draw_overlay(photograph, heatmap, [], ""))
    assert overlay.shape[0] > 100 and overlay.shape[1:] == (200, 3), "a legend below"
    assert (overlay[:100, :100] == 90).all()
    assert (overlay[:100, 100:, 0] > 120).all() and (overlay[:100, 100:, 2] < 90).all()
    large = draw_overlay(Image.new("RGB", (5000, 2500)), heatmap_of([[0.0, 1.0]], cell=2500), [], "")
    assert large.width == 2000
