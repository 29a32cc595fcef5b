"""The same drawings three times: clean, with a mark on every crack, and with a mark on everything else.

A network can tell the marked ones apart without ever looking at a crack. `crackdet pointing` shows that it does:

    python -m benchmarks.wrong_reason FOLDER

writes FOLDER/clean, FOLDER/marked and FOLDER/unmarked in the layout of `data=folder`, with masks in `masks`.
docs/inspection.md goes on from there.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from crackdet.data import synthetic

MARK = 0.15  # of a side, in the upper left corner
COLOUR = (230, 60, 30)  # of a label that somebody stuck there


def write_sets(folder: Path, num_images: int, image_size: int) -> None:
    """Writes the three sets."""
    for index in range(num_images):
        drawing = synthetic.draw(
            index, seed=0, image_size=image_size, crack_fraction=0.5, hard_negatives=0.5, difficulty=0.1
        )
        cracked = drawing.kind == "crack"
        place = f"{'Positive' if cracked else 'Negative'}/{index:05d}.png"
        for name, marked in (("clean", False), ("marked", cracked), ("unmarked", not cracked)):
            pixels = drawing.image.copy()
            if marked:
                side = round(MARK * image_size)
                pixels[:side, :side] = COLOUR
            _save(pixels, folder / name / place)
            if cracked:
                _save(drawing.mask.astype(np.uint8) * 255, folder / name / "masks" / place)


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    write_sets(parser.parse_args().folder, num_images=1200, image_size=96)
