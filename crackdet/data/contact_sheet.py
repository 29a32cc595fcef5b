"""A contact sheet of a dataset."""

import numpy as np
from PIL import Image

from crackdet.data.dataset import ImageDataset

COLUMNS, ROWS = 12, 4  # of each class
GAP = 2  # pixels


def contact_sheet(dataset: ImageDataset) -> Image.Image:
    """Return a fixed random sample of a dataset as one image: cracks above, images without a crack below."""
    step = dataset.pixels.image_size + GAP
    sheet = Image.new("RGB", (COLUMNS * step + GAP, 2 * ROWS * step + 4 * GAP), "white")
    for block, crack in enumerate((True, False)):
        members = [record for record in dataset.records if record.crack is crack]
        order = np.random.default_rng(0).permutation(len(members))[: ROWS * COLUMNS]
        for cell, index in enumerate(order):
            row, column = divmod(cell, COLUMNS)
            top = GAP + block * (ROWS * step + 2 * GAP) + row * step
            sheet.paste(Image.fromarray(dataset.pixels.read(members[index])), (GAP + column * step, top))
    return sheet
