"""Tiles of large photographs: the first decode against Pillow alone, and epochs from a warm cache against whole images.

    python -m benchmarks.tiles PHOTOGRAPHS [--number 100] [--width 4000 --height 3000]

Large photographs are put together from those in PHOTOGRAPHS. Pillow decodes each of them in as many processes as
crackdet, and throws the pixels away. crackdet reads the files once for their digests, decodes each photograph once, and
writes its tiles to the cache.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from crackdet.config.composing import compose
from crackdet.core.files import write_text
from crackdet.core.machine import num_cores
from crackdet.data.batches import iter_batches, make_batches, shuffled_indices
from crackdet.data.dataset import ImageDataset, load_splits
from crackdet.inference.files import find_images

TILE = 224


def write_photographs(sources: list[Path], folder: Path, number: int, width: int, height: int) -> None:
    """Write JPEG photographs with a COCO file of one box each."""
    rng = np.random.default_rng(0)
    annotations = []
    (folder / "images").mkdir(parents=True)
    for index in range(number):
        photograph = Image.new("RGB", (width, height))
        for left, top in product(range(0, width, 227), range(0, height, 227)):
            with Image.open(sources[rng.integers(len(sources))]) as part:
                photograph.paste(part.convert("RGB").resize((227, 227)), (left, top))
        photograph.save(folder / "images" / f"{index}.jpg", quality=95)
        annotations.append(f'{{"id": {index}, "image_id": {index}, "category_id": 1, "bbox": [0, 0, 900, 900]}}')
    images = [
        f'{{"id": {index}, "file_name": "{index}.jpg", "width": {width}, "height": {height}}}'
        for index in range(number)
    ]
    text = f'"images": [{", ".join(images)}], "annotations": [{", ".join(annotations)}]'
    write_text(folder / "annotations.json", f'{{{text}, "categories": [{{"id": 1, "name": "crack"}}]}}')


def decode_with_pillow(file: Path) -> int:
    with Image.open(file) as image:
        image.load()
        return image.width


def decode_to_array(file: Path) -> int:
    with Image.open(file) as image:
        return len(np.asarray(image))


def timed(run: Callable[[], object]) -> float:
    start = time.monotonic()
    run()
    return time.monotonic() - start


def epoch(dataset: ImageDataset) -> None:
    """Read all images once in a random order, in batches of 32."""
    batches = make_batches(shuffled_indices(len(dataset), 0, 1), 32)
    for batch in iter_batches(dataset, batches, torch.device("cpu"), None):
        batch.inputs.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    options = parser.parse_args()
    sources = find_images([str(options.photographs)])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_photographs(sources, folder / "walls", options.number, options.width, options.height)
        files = find_images([str(folder / "walls" / "images")])
        settings = [f"data.tile={TILE}", f"data.image_size={TILE}", "data.negatives_per_positive=null"]
        config = compose(
            ["data=boxes", f"data.root={folder / 'walls'}", *settings, f"runtime.cache={folder / 'cache'}"]
        )
        seconds = []
        with ProcessPoolExecutor(num_cores(), mp_context=get_context("spawn")) as pool:
            list(pool.map(decode_with_pillow, files[:4]))  # starts the processes
            seconds.append(timed(lambda: list(pool.map(decode_with_pillow, files))))
            seconds.append(timed(lambda: list(pool.map(decode_to_array, files))))
        seconds.append(timed(lambda: load_splits(config.data, config.runtime)))
        mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        tiles = load_splits(config.data, config.runtime)["train"]
        number = len(tiles)
        for index in range(number):  # the same number of ready-cut squares, in class folders
            target = folder / "squares" / ("crack" if index % 2 else "intact") / f"{index}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tiles.pixels.read(tiles.records[index])).save(target, compress_level=1)
        squares = load_splits(
            compose(
                [
                    "data=folder",
                    f"data.root={folder / 'squares'}",
                    f"data.image_size={TILE}",
                    "data.valid_fraction=0.001",
                ]
            ).data,
            config.runtime,
        )["train"]
        rates = {"tiles": 0.0, "squares": 0.0}
        for _ in range(3):
            rates["tiles"] = max(rates["tiles"], len(tiles) / timed(lambda: epoch(tiles)))
            rates["squares"] = max(rates["squares"], len(squares) / timed(lambda: epoch(squares)))
    print(f"{options.number} photographs of {options.width}x{options.height}, {num_cores()} processes")
    pillow, arrays, ours = seconds
    print(f"Pillow {pillow:.1f} s, Pillow to arrays {arrays:.1f} s, crackdet {ours:.1f} s")
    print(f"crackdet: {ours / arrays:.2f} times Pillow to arrays, {ours / pillow:.2f} times Pillow")
    print(f"largest process {mib:.0f} MiB")
    ratio = rates["tiles"] / rates["squares"]
    print(f"warm: tiles {rates['tiles']:.0f}, squares {rates['squares']:.0f} images/s: {ratio:.2f} times")


if __name__ == "__main__":
    main()
