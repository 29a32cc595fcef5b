"""`data=filename_labels`: splits by folder, labels by file name."""

from pathlib import Path

import pytest

from crackdet.config.file_data import FilenameLabelsData
from crackdet.core.errors import UserError
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from tests.composing import compose
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


# --- marks of both classes ------------------------------------------------------------------------------------


def marked(tmp_path: Path, *names: str) -> Path:
    """Images of these names in the training split."""
    for number, name in enumerate(names):
        save_image(tmp_path / "data" / "train" / "images" / name, number)
    return tmp_path / "data"


def labels_of(records: list[ImageRecord]) -> dict[str, bool]:
    return {record.name.rpartition("/")[2]: record.crack for record in records}


def test_several_marks_show_no_crack(tmp_path: Path, list_records: ListRecords) -> None:
    root = marked(tmp_path, "sound_1.png", "INTACT_2.png", "riss_3.png")
    records = list_records(FilenameLabelsData(root=str(root), negative_mark=["sound", "intact"]))
    assert labels_of(records) == {"sound_1.png": False, "INTACT_2.png": False, "riss_3.png": True}


def test_names_without_a_mark_of_either_class_are_left_out_and_counted(tmp_path: Path) -> None:
    root = marked(tmp_path, "crack_1.png", "Riss_2.png", "noncrack_3.png", "uncracked_4.png", "door_5.png", "sky_6.png")
    data = FilenameLabelsData(root=str(root), positive_mark=["crack", "riss"], negative_mark=["noncrack", "uncracked"])
    source = open_source(data, tmp_path / "cache")
    assert labels_of(source.list_records()) == {
        "crack_1.png": True, "Riss_2.png": True, "noncrack_3.png": False, "uncracked_4.png": False,
    }  # fmt: skip
    (warning,) = source.warnings
    assert warning.startswith("data.positive_mark=[crack,riss], data.negative_mark=[noncrack,uncracked]: 2 images such")
    assert warning.endswith("door_5.png have no mark and are left out")


def test_names_with_marks_of_both_classes_are_refused_in_one_list(tmp_path: Path, list_records: ListRecords) -> None:
    root = marked(tmp_path, "crack_1.png", "noncrack_2.png", "noncrack_next_to_crack.png", "crack_or_noncrack.png")
    with pytest.raises(UserError, match=r"2 file names have both marks: .*or_noncrack\.png, .*next_to_crack\.png$"):
        list_records(FilenameLabelsData(root=str(root), positive_mark="crack"))


def test_names_without_a_positive_mark_show_no_crack_if_there_is_no_negative_mark(
    tmp_path: Path, list_records: ListRecords
) -> None:
    root = marked(tmp_path, "riss_1.png", "wall_2.png")
    data = FilenameLabelsData(root=str(root), positive_mark=["riss", "spalt"], negative_mark=None)
    assert labels_of(list_records(data)) == {"riss_1.png": True, "wall_2.png": False}
    with pytest.raises(UserError, match="both are null; the marks of one class are needed"):
        list_records(FilenameLabelsData(root=str(root), negative_mark=None))


def test_a_mark_of_both_classes_is_refused(tmp_path: Path, list_records: ListRecords) -> None:
    root = marked(tmp_path, "a_1.png")
    with pytest.raises(UserError, match=r"data\.positive_mark, data\.negative_mark: NonCrack is in both"):
        list_records(FilenameLabelsData(root=str(root), positive_mark=["noncrack"], negative_mark="NonCrack"))


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.negative_mark=[sound,intact]", ["sound", "intact"]), ("data.negative_mark=[sound]", "sound"),
        ("data.negative_mark=sound", "sound"), ("data.negative_mark=7", "7"), ("data.negative_mark=[1,2]", ["1", "2"]),
    ],
)  # fmt: skip
def test_marks_are_given_as_a_text_or_a_list(override: str, value: object) -> None:
    data = compose(["data=filename_labels", "data.root=x", override]).data
    assert isinstance(data, FilenameLabelsData) and data.negative_mark == value


@pytest.mark.parametrize("value", ["[]", "['']", "''", "{a: 1}", "[[a]]"])
def test_marks_that_are_no_texts_are_refused(value: str) -> None:
    with pytest.raises(UserError, match=r"data\.negative_mark.*: must be non-empty text or a list of them"):
        compose(["data=filename_labels", "data.root=x", f"data.negative_mark={value}"])


# --- leftovers of folders -------------------------------------------------------------------------------------


def test_masks_beside_photographs_are_left_out_and_counted(tmp_path: Path) -> None:
    root = marked(tmp_path, "a.jpg", "a_mask.png", "noncrack_b.jpg", "noncrack_b-GT.png", "c_mask.png")
    source = open_source(FilenameLabelsData(root=str(root)), tmp_path / "cache")
    assert labels_of(source.list_records()) == {"a.jpg": True, "noncrack_b.jpg": False, "c_mask.png": True}
    assert "2 images such as train/images/a_mask.png are masks of photographs beside them" in "".join(source.warnings)


def test_two_folders_of_one_split_are_told(tmp_path: Path) -> None:
    for number, name in enumerate(["train", "val", "valid"]):
        save_image(tmp_path / "data" / name / "images" / "a.jpg", number)
        save_image(tmp_path / "data" / name / "images" / "noncrack.jpg", number + 10)
    source = open_source(FilenameLabelsData(root=str(tmp_path / "data")), tmp_path / "cache")
    assert len(source.list_records()) == 6
    assert source.warnings == ["the folders val, valid are used together as the valid split"]
