"""`data=filename_labels`: splits by folder, labels by file name."""

from pathlib import Path

import pytest

from crackdet.config.file_data import FilenameLabelsData
from crackdet.core.errors import UserError
from crackdet.data.sources.factory import open_source
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


@pytest.mark.parametrize("mark", ["noncrack", "Noncrack", "NONCRACK"])
def test_labels_do_not_depend_on_case(mark: str, tmp_path: Path, list_records: ListRecords) -> None:
    names = ["noncrack_1.jpg", "Noncrack_2.jpg", "CFD_NONCRACK_3.JPG", "CFD_4.jpg"]
    for number, name in enumerate(names):
        save_image(tmp_path / "data" / "train" / "images" / name, number)
    records = list_records(FilenameLabelsData(root=str(tmp_path / "data"), negative_mark=mark))
    assert [record.name.rpartition("/")[2] for record in records if record.crack] == ["CFD_4.jpg"]


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Val"])
@pytest.mark.parametrize("train", ["train", "training", "Train"])
def test_split_folders_have_the_names_of_the_other_layouts(
    train: str, valid: str, tmp_path: Path, list_records: ListRecords
) -> None:
    for number, split in enumerate([train, valid, "testing"]):
        save_image(tmp_path / "data" / split / "Images" / "crack.jpg", number)
        save_image(tmp_path / "data" / split / "Images" / "noncrack.jpg", number + 10)
    records = list_records(FilenameLabelsData(root=str(tmp_path / "data")))
    found = {record.name.split("/")[0]: record.split for record in records}
    assert found == {train: "train", valid: "valid", "testing": "test"}


def test_a_split_folder_without_images_is_rejected(tmp_path: Path, list_records: ListRecords) -> None:
    for number, name in enumerate(["train/images/a.jpg", "train/images/noncrack.jpg", "val/photos/b.jpg"]):
        save_image(tmp_path / "data" / name, number)
    with pytest.raises(UserError, match=r"val.images is missing"):
        list_records(FilenameLabelsData(root=str(tmp_path / "data")))


def test_a_root_that_is_one_level_too_high_is_told(tmp_path: Path, list_records: ListRecords) -> None:
    save_image(tmp_path / "data" / "crack_segmentation" / "train" / "images" / "a.jpg", 1)
    with pytest.raises(UserError, match=r"train.images is missing.*data\.root=\S+crack_segmentation"):
        list_records(FilenameLabelsData(root=str(tmp_path / "data")))


def test_other_folders_and_doubtful_names_are_told(tmp_path: Path) -> None:
    names = ["train/images/a.jpg", "train/images/noncrack.jpg", "train/images/non-crack.jpg", "train/masks/a.jpg"]
    names += ["train/more/b.jpg", "unsure/images/c.jpg", "train/d.jpg"]
    for number, name in enumerate(names):
        save_image(tmp_path / "data" / name, number)
    source = open_source(FilenameLabelsData(root=str(tmp_path / "data")), tmp_path / "cache")
    assert len(source.list_records()) == 3
    text = "\n".join(source.warnings)
    assert "images in unsure, train/more, train itself are ignored" in text
    assert "1 images such as train/images/non-crack.jpg are labelled as cracks" in text
