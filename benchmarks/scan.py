"""How well and how fast `crackdet scan` finds cracks: on large photographs stitched from small ones that are known.

    python -m benchmarks.scan RUN --store outputs/runs [--photographs FOLDER] [--side 20] --to FOLDER

Drawings, or photographs in FOLDER/Positive and FOLDER/Negative, are laid side by side, each fading into the next, since
an edge between two of them would look like a crack; a few are cracked. The truth is a box around each group of cracked
ones. Nothing is stitched from what the run was trained or judged with, nor from groups that it was trained with.
"""

import argparse
import random
import resource
import time
from collections.abc import Callable, Iterable
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

FADE = 0.25  # of a piece's side

Box = tuple[int, int, int, int]  # left, top, right, bottom
Places = Iterable[tuple[int, int]]  # column, row
Take = Callable[[bool], Image.Image]


def cracked_places(side: int) -> list[list[tuple[int, int]]]:
    """Three groups of cracked pieces: a row of four, a lone one, a block of four."""
    third, far = side // 3, side - 3
    return [
        [(third + i, 1) for i in range(4)],
        [(1, side // 2)],
        [(far + i, far + j) for i in range(2) for j in range(2)],
    ]


def stitch(side: int, piece: tuple[int, int], take: Take) -> tuple[Image.Image, list[Box]]:
    """A square of side x side pieces, and the boxes around its groups of cracked ones."""
    fade_x, fade_y = (round(FADE * length) for length in piece)
    step_x, step_y = piece[0] - fade_x, piece[1] - fade_y
    groups = cracked_places(side)
    cracked = {place for group in groups for place in group}
    page = Image.new("RGB", (side * step_x + fade_x, side * step_y + fade_y))
    for row in range(side):
        for column in range(side):
            ramps = (_ramp(piece[0], fade_x if column else 0), _ramp(piece[1], fade_y if row else 0))
            mask = Image.fromarray(np.rint(255 * np.outer(ramps[1], ramps[0])).astype(np.uint8))
            page.paste(take((column, row) in cracked).resize(piece), (column * step_x, row * step_y), mask)
    boxes = []
    for group in groups:
        columns, rows = zip(*group, strict=True)
        right, bottom = (max(columns) + 1) * step_x + fade_x, (max(rows) + 1) * step_y + fade_y
        boxes.append((min(columns) * step_x, min(rows) * step_y, right, bottom))
    return page, boxes


def _ramp(length: int, fade: int) -> NDArray[np.float64]:
    return np.minimum(1.0, (np.arange(length) + 1) / (fade + 1))


def drawings(image_size: int) -> Take:
    """Drawings of a seed that no configuration begins with."""
    numbers = iter(range(10**6))

    def take(crack: bool) -> Image.Image:
        index = next(i for i in numbers if synthetic.label(i, seed=977, crack_fraction=0.5) is crack)
        drawing = synthetic.draw(
            index, seed=977, image_size=image_size, crack_fraction=0.5, hard_negatives=0.3, difficulty=0.4
        )
        return Image.fromarray(drawing.image)

    return take


def photographs(folder: Path, known: set[str]) -> Take:
    rng = random.Random(0)
    files = {
        crack: [p for p in sorted((folder / name).iterdir()) if p.relative_to(folder).as_posix() not in known]
        for crack, name in ((True, "Positive"), (False, "Negative"))
    }
    if not all(files.values()):
        raise SystemExit(f"error: {folder}: holds no photograph that the run does not know; train with data.max_images")
    print(
        f"from {len(files[True])} photographs with a crack and {len(files[False])} without, which the run does not know"
    )

    def take(crack: bool) -> Image.Image:
        with Image.open(rng.choice(files[crack])) as image:
            return image.convert("RGB")

    return take


def overlap_over_union(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def report(found: list[Region], truth: list[Box]) -> None:
    boxes = [(region.left, region.top, region.right, region.bottom) for region in found]
    best = [max((overlap_over_union(box, true) for true in truth), default=0.0) for box in boxes]
    for true in truth:
        ious = [overlap_over_union(true, box) for box in boxes]
        print(f"  true box {true}: intersection over union with the nearest found {max(ious, default=0):.2f}")
    touching = sum(value > 0 for value in best)
    print(f"  {len(boxes)} boxes found, {touching} of them on a crack, {len(boxes) - touching} elsewhere")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--store", default="outputs/runs")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--side", type=int, default=20, help="pieces")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--to", type=Path, required=True, help="folder for the photograph and its overlay")
    options = parser.parse_args()
    run = crackdet.load_run(options.run, options.store)
    tile = choose_tile(None, run.config)
    take = photographs(options.photographs, _known(run)) if options.photographs else drawings(tile.width)
    page, truth = stitch(options.side, (tile.width, tile.height), take)
    options.to.mkdir(parents=True, exist_ok=True)
    page.save(options.to / "stitched.png", compress_level=1)
    predictor = run.predictor()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    heat = scan(predictor, page, tile, options.overlap)
    found = find_regions(heat, options.threshold)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{page.width}x{page.height} pixels, {heat.tiles} tiles of {tile}: {heat.tiles / seconds:.0f} tiles/s")
    print(f"  peak memory {after / 1024:.0f} MiB, {before / 1024:.0f} before the scan")
    report(found, truth)
    area = np.zeros((page.height, page.width), bool)
    for left, top, right, bottom in truth:
        area[top:bottom, left:right] = True
    at = heat.at(np.arange(page.width) + 0.5, np.arange(page.height) + 0.5) > options.threshold
    print(
        f"  of the area that was called cracked {(at & area).sum() / max(at.sum(), 1):.3f} is; of the cracked pieces' "
        f"area {(at & area).sum() / area.sum():.3f} was called so"
    )
    draw_overlay(page, heat, found, f"{run.id}, stitched").save(options.to / "overlay.png")


def _known(run: LoadedRun) -> set[str]:
    """Names of the photographs of its train and validation splits, and of all others of the train split's groups."""
    splits = load_splits(run.config.data, run.config.runtime)
    groups = {photograph.group for photograph in splits["train"].photographs} - {None}
    everything = open_source(run.config.data, Path(run.config.runtime.cache).expanduser()).photographs()
    alike = [photograph for photograph in everything if photograph.group in groups]
    return {one.name for one in (*splits["train"].photographs, *splits["valid"].photographs, *alike)}


if __name__ == "__main__":
    main()
