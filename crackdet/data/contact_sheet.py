"""A contact sheet: cracks above, no cracks below."""

import numpy as np
from PIL import Image

from crackdet.data.dataset import ImageDataset

COLUMNS, ROWS = 12, 4  # of each class
GAP = 2  # pixels


def contact_sheet(images: ImageDataset) -> Image.Image:
    """The first images of each class, drawn at random but always the same."""
    size = images.pixels.image_size
    step = size + GAP
    sheet = np.full((2 * ROWS * step + 4 * GAP, COLUMNS * step + GAP, 3), 255, dtype=np.uint8)
    for block, crack in enumerate((True, False)):
        members = [photograph for photograph in images.photographs if photograph.crack is crack]
        order = np.random.default_rng(0).permutation(len(members))[: ROWS * COLUMNS]
        for place, index in enumerate(order):
            row, column = divmod(place, COLUMNS)
            top = GAP + block * (ROWS * step + 2 * GAP) + row * step
            left = GAP + column * step
            sheet[top : top + size, left : left + size] = images.pixels.read(members[index])
    return Image.fromarray(sheet)
