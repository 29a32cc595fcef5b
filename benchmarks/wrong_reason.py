"""The same synthetic images three times: clean, with a mark beside every crack, and with a mark on all other images.

A network can recognise the marked images without looking at a crack. `crackdet pointing` shows that it does so:

    python -m benchmarks.wrong_reason FOLDER

writes FOLDER/clean, FOLDER/marked and FOLDER/unmarked in the layout of `data=folder`, with masks in `masks`.
docs/inspection.md uses them.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from crackdet.data import synthetic

MARK_SIZE = 0.15  # share of the image's side; the mark is in the upper left corner
MARK_COLOUR = (230, 60, 30)


def write_sets(folder: Path, num_images: int, image_size: int) -> None:
    """Write the three sets."""
    for index in range(num_images):
        sample = synthetic.render(
            index, seed=0, image_size=image_size, crack_fraction=0.5, hard_negatives=0.5, difficulty=0.1
        )
        crack = sample.kind == "crack"
        path = f"{'Positive' if crack else 'Negative'}/{index:05d}.png"
        for name, marked in (("clean", False), ("marked", crack), ("unmarked", not crack)):
            pixels = sample.image.copy()
            if marked:
                side = round(MARK_SIZE * image_size)
                pixels[:side, :side] = MARK_COLOUR
            _save(pixels, folder / name / path)
            if crack:
                _save(sample.mask.astype(np.uint8) * 255, folder / name / "masks" / path)


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    write_sets(parser.parse_args().folder, num_images=1200, image_size=96)
