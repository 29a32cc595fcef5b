"""The contact sheet of a data set."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import FolderData, Runtime
from crackdet.data.contact_sheet import contact_sheet
from crackdet.data.dataset import ImageDataset, load_splits
from tests.data.pictures import fill

SIZE = 12


def train(tmp_path: Path, cracks: int, others: int) -> ImageDataset:
    counts = {"train/crack": cracks, "train/noncrack": others, "valid/crack": 1, "valid/noncrack": 1}
    data = FolderData(root=str(fill(tmp_path / "data", counts)), image_size=SIZE)
    return load_splits(data, Runtime(cache=str(tmp_path / "cache")))["train"]


def holds(sheet: NDArray[np.uint8], picture: NDArray[np.uint8]) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)
    return bool((windows == picture).all(axis=(-3, -2, -1)).any())


def test_cracks_are_above_and_the_others_below(tmp_path: Path) -> None:
    images = train(tmp_path, 3, 2)
    sheet = np.asarray(contact_sheet(images))
    above, below = np.split(sheet, 2)
    for photograph in images.photographs:
        assert holds(above, images.pixels.read(photograph)) is photograph.crack
        assert holds(below, images.pixels.read(photograph)) is not photograph.crack


def test_it_is_always_the_same(tmp_path: Path) -> None:
    images = train(tmp_path, 60, 5)  # more cracks than have room
    assert np.array_equal(np.asarray(contact_sheet(images)), np.asarray(contact_sheet(images)))
