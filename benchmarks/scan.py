"""Accuracy and speed of `crackdet scan`, on large images stitched from small labelled ones.

    python -m benchmarks.scan RUN --store outputs/runs [--photographs FOLDER] [--side 20] --to FOLDER

Synthetic images, or photographs in FOLDER/Positive and FOLDER/Negative, lie side by side. Each fades into the next,
because an edge would look like a crack. A few show cracks, and the true boxes surround these. The run's
training and validation images, and all other images of its training groups, are left out.
"""

import argparse
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import crackdet
from crackdet.data import synthetic
from crackdet.data.dataset import load_splits
from crackdet.data.sources.factory import open_source
from crackdet.inference.loaded_run import LoadedRun
from crackdet.inference.overlay import draw_overlay
from crackdet.inference.regions import Region, find_regions
from crackdet.inference.scanning import choose_tile, scan

FADE = 0.25  # share of a tile's side

Box = tuple[int, int, int, int]  # left, top, right, bottom
ImageSource = Callable[[bool], Image.Image]  # whether with a crack -> the next image


def cracked_positions(side: int) -> list[list[tuple[int, int]]]:
    """Return (column, row) of three groups of images with cracks: a row of four, a single one, a block of four."""
    third, far = side // 3, side - 3
    return [
        [(third + i, 1) for i in range(4)],
        [(1, side // 2)],
        [(far + i, far + j) for i in range(2) for j in range(2)],
    ]


def stitch(side: int, size: tuple[int, int], next_image: ImageSource) -> tuple[Image.Image, list[Box]]:
    """Return a square of side x side images, and the boxes around its groups of images with cracks."""
    fade_x, fade_y = (round(FADE * length) for length in size)
    step_x, step_y = size[0] - fade_x, size[1] - fade_y
    groups = cracked_positions(side)
    cracked = {position for group in groups for position in group}
    page = Image.new("RGB", (side * step_x + fade_x, side * step_y + fade_y))
    for row in range(side):
        for column in range(side):
            ramps = (_ramp(size[0], fade_x if column else 0), _ramp(size[1], fade_y if row else 0))
            mask = Image.fromarray(np.rint(255 * np.outer(ramps[1], ramps[0])).astype(np.uint8))
            page.paste(next_image((column, row) in cracked).resize(size), (column * step_x, row * step_y), mask)
    boxes = []
    for group in groups:
        columns, rows = zip(*group, strict=True)
        right, bottom = (max(columns) + 1) * step_x + fade_x, (max(rows) + 1) * step_y + fade_y
        boxes.append((min(columns) * step_x, min(rows) * step_y, right, bottom))
    return page, boxes


def _ramp(length: int, fade: int) -> NDArray[np.float64]:
    return np.minimum(1.0, (np.arange(length) + 1) / (fade + 1))


def synthetic_images(image_size: int) -> ImageSource:
    """Return a source of synthetic images with a seed that no default configuration uses."""
    indices = iter(range(10**6))

    def next_image(crack: bool) -> Image.Image:
        index = next(i for i in indices if synthetic.label(i, seed=977, crack_fraction=0.5) is crack)
        sample = synthetic.render(
            index, seed=977, image_size=image_size, crack_fraction=0.5, hard_negatives=0.3, difficulty=0.4
        )
        return Image.fromarray(sample.image)

    return next_image


def photograph_source(folder: Path, known: set[str]) -> ImageSource:
    rng = random.Random(0)
    files = {
        crack: [p for p in sorted((folder / name).iterdir()) if p.relative_to(folder).as_posix() not in known]
        for crack, name in ((True, "Positive"), (False, "Negative"))
    }
    if not all(files.values()):
        raise SystemExit(f"error: {folder}: all photographs belong to the run's splits; train with data.max_images")
    print(f"from {len(files[True])} photographs with a crack and {len(files[False])} without, none in the run's splits")

    def next_image(crack: bool) -> Image.Image:
        with Image.open(rng.choice(files[crack])) as image:
            return image.convert("RGB")

    return next_image


def intersection_over_union(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def report(regions: list[Region], truth: list[Box]) -> None:
    boxes = [(region.left, region.top, region.right, region.bottom) for region in regions]
    best = [max((intersection_over_union(box, true) for true in truth), default=0.0) for box in boxes]
    for true in truth:
        ious = [intersection_over_union(true, box) for box in boxes]
        print(f"  true box {true}: largest intersection over union with a found box {max(ious, default=0):.2f}")
    touching = sum(value > 0 for value in best)
    print(f"  {len(boxes)} boxes found, {touching} on a crack, {len(boxes) - touching} elsewhere")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--store", default="outputs/runs")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--side", type=int, default=20, help="images per side")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--to", type=Path, required=True, help="folder for the stitched image and its overlay")
    options = parser.parse_args()
    run = crackdet.load_run(options.run, options.store)
    tile = choose_tile(None, run.config)
    next_image = (
        photograph_source(options.photographs, _known(run)) if options.photographs else synthetic_images(tile.width)
    )
    page, truth = stitch(options.side, (tile.width, tile.height), next_image)
    options.to.mkdir(parents=True, exist_ok=True)
    page.save(options.to / "stitched.png", compress_level=1)
    predictor = run.predictor()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    heatmap = scan(predictor, page, tile, options.overlap)
    regions = find_regions(heatmap, options.threshold)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{page.width}x{page.height} pixels, {heatmap.tiles} tiles of {tile}: {heatmap.tiles / seconds:.0f} tiles/s")
    print(f"  peak memory {after / 1024:.0f} MiB, {before / 1024:.0f} before the scan")
    report(regions, truth)
    area = np.zeros((page.height, page.width), bool)
    for left, top, right, bottom in truth:
        area[top:bottom, left:right] = True
    predicted = heatmap.at(*(np.arange(side, dtype=np.float64) + 0.5 for side in page.size)) > options.threshold
    print(
        f"  by area: precision {(predicted & area).sum() / max(predicted.sum(), 1):.3f}, "
        f"recall {(predicted & area).sum() / area.sum():.3f}"
    )
    draw_overlay(page, heatmap, regions, f"{run.id}, stitched").save(options.to / "overlay.png")


def _known(run: LoadedRun) -> set[str]:
    """Return the names of the images of the run's training and validation splits, and of all images of its groups."""
    splits = load_splits(run.config.data, run.config.runtime)
    groups = {photograph.group for photograph in splits["train"].records} - {None}
    everything = open_source(run.config.data, Path(run.config.runtime.cache).expanduser()).list_records()
    alike = [photograph for photograph in everything if photograph.group in groups]
    return {one.name for one in (*splits["train"].records, *splits["valid"].records, *alike)}


if __name__ == "__main__":
    main()
