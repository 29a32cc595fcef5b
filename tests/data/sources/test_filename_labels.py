"""`data=filename_labels`: splits by folder, labels by file name."""

from pathlib import Path

import pytest

from crackdet.config.schema import FilenameLabelsData
from crackdet.core.errors import UserError
from tests.data.image_files import make_folders, save_image
from tests.data.sources.conftest import ListRecords, labels_and_splits


def test_file_names_give_the_labels(tmp_path: Path, list_records: ListRecords) -> None:
    for number, name in enumerate(["train/images/noncrack_1.jpg", "train/images/Rissbilder_2.jpg"]):
        save_image(tmp_path / "data" / name, number)
    for number, name in enumerate(["valid/images/CFD_3.jpg", "valid/images/a-noncrack-4.jpg"], start=2):
        save_image(tmp_path / "data" / name, number)
    save_image(tmp_path / "data" / "train" / "masks" / "Rissbilder_2.jpg", 9)
    assert labels_and_splits(list_records(FilenameLabelsData(root=str(tmp_path / "data")))) == {
        "train/images/noncrack_1.jpg": (False, "train"),
        "train/images/Rissbilder_2.jpg": (True, "train"),
        "valid/images/CFD_3.jpg": (True, "valid"),
        "valid/images/a-noncrack-4.jpg": (False, "valid"),
    }


def test_a_test_folder_gives_a_test_split(tmp_path: Path, list_records: ListRecords) -> None:
    for number, split in enumerate(["train", "valid", "test"]):
        save_image(tmp_path / "data" / split / "images" / "crack.jpg", number)
        save_image(tmp_path / "data" / split / "images" / "noncrack.jpg", number + 10)
    records = list_records(FilenameLabelsData(root=str(tmp_path / "data")))
    assert [record.split for record in records].count("test") == 2


def test_the_negative_mark_can_be_set(tmp_path: Path, list_records: ListRecords) -> None:
    save_image(tmp_path / "data" / "train" / "images" / "sound_1.jpg", 1)
    save_image(tmp_path / "data" / "train" / "images" / "noncrack_2.jpg", 2)
    records = list_records(FilenameLabelsData(root=str(tmp_path / "data"), negative_mark="sound"))
    assert labels_and_splits(records) == {
        "train/images/sound_1.jpg": (False, "train"),
        "train/images/noncrack_2.jpg": (True, "train"),
    }


def test_a_missing_train_folder_is_rejected(tmp_path: Path, list_records: ListRecords) -> None:
    make_folders(tmp_path / "data", {"crack": 1, "noncrack": 1})
    with pytest.raises(UserError, match=r"data\.root=.*train.images is missing"):
        list_records(FilenameLabelsData(root=str(tmp_path / "data")))
