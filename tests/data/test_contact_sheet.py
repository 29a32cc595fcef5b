"""The contact sheet of a dataset."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.data.contact_sheet import contact_sheet
from crackdet.data.dataset import ImageDataset, load_splits
from tests.data.image_files import make_folders

SIZE = 12


def load_train(tmp_path: Path, num_cracks: int, num_others: int) -> ImageDataset:
    counts = {"train/crack": num_cracks, "train/noncrack": num_others, "valid/crack": 1, "valid/noncrack": 1}
    data = FolderData(root=str(make_folders(tmp_path / "data", counts)), image_size=SIZE)
    return load_splits(data, Runtime(cache=str(tmp_path / "cache")))["train"]


def contains(sheet: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(sheet, pixels.shape)
    return bool((windows == pixels).all(axis=(-3, -2, -1)).any())


def test_cracks_are_in_the_upper_half_and_others_in_the_lower(tmp_path: Path) -> None:
    dataset = load_train(tmp_path, 3, 2)
    upper, lower = np.split(np.asarray(contact_sheet(dataset)), 2)
    for record in dataset.records:
        assert contains(upper, dataset.pixels.read(record)) is record.crack
        assert contains(lower, dataset.pixels.read(record)) is not record.crack


def test_the_sample_is_always_the_same(tmp_path: Path) -> None:
    dataset = load_train(tmp_path, 60, 5)  # more cracks than fit
    assert np.array_equal(np.asarray(contact_sheet(dataset)), np.asarray(contact_sheet(dataset)))
