"""`data=folder`: class folders, split folders, and which folders are ignored."""

import shutil
from pathlib import Path
from unicodedata import normalize

import pytest

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.data.dataset import load_splits
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders, make_pixels, save_image
from tests.data.sources.conftest import ListRecords, folder_data, labels_and_splits, names_in

# --- classes ------------------------------------------------------------------------------------------


def test_class_folders_give_the_labels(root: Path, list_records: ListRecords) -> None:
    records = labels_and_splits(list_records(folder_data(root)))
    assert records == {name: (name.startswith("crack"), None) for name in names_in(root)}


@pytest.mark.parametrize(
    ("crack", "no_crack"),
    [
        ("Positive", "Negative"),
        ("CRACKS", "No Crack"),
        ("cracked", "non-crack"),
        ("crack", "uncracked"),
        ("Crack", "no_crack"),
    ],
)
def test_usual_class_names_are_known_in_any_spelling(
    crack: str, no_crack: str, tmp_path: Path, list_records: ListRecords
) -> None:
    records = list_records(folder_data(make_folders(tmp_path / "data", {crack: 2, no_crack: 3})))
    assert [record.crack for record in records].count(True) == 2
    assert [record.crack for record in records].count(False) == 3


def test_class_names_can_be_set(tmp_path: Path, list_records: ListRecords) -> None:
    root = make_folders(tmp_path / "data", {"broken": 2, "whole": 3, "crack": 4})
    records = list_records(folder_data(root, crack_names=["broken"], no_crack_names=["whole"]))
    assert {name.split("/")[0]: crack for name, (crack, _) in labels_and_splits(records).items()} == {
        "broken": True,
        "whole": False,
    }


def test_class_names_match_in_every_unicode_normal_form(tmp_path: Path, list_records: ListRecords) -> None:
    make_folders(tmp_path, {normalize("NFD", "Beschädigt"): 2, "heil": 2})
    data = folder_data(tmp_path, crack_names=[normalize("NFC", "beschädigt")], no_crack_names=["heil"])
    assert sum(record.crack for record in list_records(data)) == 2


def test_a_name_in_both_lists_of_class_names_is_rejected(root: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"data.crack_names, data.no_crack_names: Non-Crack is in both"):
        list_records(folder_data(root, crack_names=["crack", "Non-Crack"]))


def test_an_empty_class_is_rejected(tmp_path: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*noncrack holds no image"):
        list_records(folder_data(make_folders(tmp_path / "data", {"crack": 2, "noncrack": 0})))


@pytest.mark.parametrize(("present", "missing"), [("crack", "without a crack"), ("noncrack", "with a crack")])
def test_a_single_class_is_rejected(present: str, missing: str, tmp_path: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=rf"holds no image {missing}; both classes are needed"):
        list_records(folder_data(make_folders(tmp_path / "data", {present: 3})))


def test_unknown_class_names_are_rejected_and_named(tmp_path: Path, list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"no folder named after a class, but broken, whole; .*data\.crack_names="):
        list_records(folder_data(make_folders(tmp_path / "data", {"broken": 2, "whole": 2})))


def test_an_empty_root_is_rejected(tmp_path: Path, list_records: ListRecords) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="contains no class folder; each class needs a folder"):
        list_records(folder_data(tmp_path / "data"))


# --- files --------------------------------------------------------------------------------------------


def test_images_in_subfolders_belong_to_the_class(root: Path, list_records: ListRecords) -> None:
    save_image(root / "crack" / "bridge" / "north" / "deep.png", 50)
    assert labels_and_splits(list_records(folder_data(root)))["crack/bridge/north/deep.png"] == (True, None)


@pytest.mark.parametrize("written", [".", "./", "../data", "{root}/", "/../{root}"])
def test_every_spelling_of_the_root_lists_the_same_images(
    written: str, root: Path, list_records: ListRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list_records(folder_data(root))
    monkeypatch.chdir(root)
    assert list_records(FolderData(root=written.format(root=root))) == expected


def test_file_names_do_not_change_the_order(root: Path, list_records: ListRecords) -> None:
    digests = [record.digest for record in list_records(folder_data(root))]
    for number, path in enumerate(sorted(root.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed{number:03d}.png"))
    assert [record.digest for record in list_records(folder_data(root))] == digests


def test_a_source_reads_the_images_that_it_lists(root: Path, tmp_path: Path) -> None:
    source = open_source(folder_data(root), tmp_path / "cache")
    pixels = {record.name: source.read(record, 12) for record in source.list_records()}
    for number, name in enumerate(names_in(root)):
        assert (pixels[name] == make_pixels(number)).all()


# --- splits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Val"])
@pytest.mark.parametrize("train", ["train", "training", "Train"])
def test_split_folders_give_the_splits(train: str, valid: str, tmp_path: Path, list_records: ListRecords) -> None:
    counts = {f"{train}/crack": 2, f"{train}/intact": 2, f"{valid}/crack": 1, f"{valid}/intact": 1}
    root = make_folders(tmp_path / "data", counts | {"test/crack": 1, "test/intact": 1})
    expected = {train: "train", valid: "valid", "test": "test"}
    assert labels_and_splits(list_records(folder_data(root))) == {
        name: (name.split("/")[1] == "crack", expected[name.split("/")[0]]) for name in names_in(root)
    }


def test_split_folders_inside_class_folders_give_the_same_splits(tmp_path: Path, list_records: ListRecords) -> None:
    inside = {"crack/train": 2, "intact/train": 2, "crack/val": 1, "intact/Valid/deep": 1}
    outside = {"train/crack": 2, "train/intact": 2, "val/crack": 1, "val/intact": 1}
    roots = make_folders(tmp_path / "inside", inside), make_folders(tmp_path / "outside", outside)
    splits = [sorted((r.crack, r.split) for r in list_records(folder_data(root))) for root in roots]
    assert splits[0] == splits[1] and {split for _, split in splits[0]} == {"train", "valid"}


def test_images_beside_inner_split_folders_are_rejected(tmp_path: Path, list_records: ListRecords) -> None:
    root = make_folders(tmp_path / "data", {"crack/train": 2, "intact": 2})
    with pytest.raises(UserError, match=r"crack/train/\S+ is in a folder named after a split and intact/\S+ is not"):
        list_records(folder_data(root))


def test_a_split_folder_without_class_folders_is_rejected(tmp_path: Path, list_records: ListRecords) -> None:
    root = make_folders(tmp_path / "data", {"train/crack": 2, "train/noncrack": 2, "valid/images": 2})
    with pytest.raises(UserError, match=r"valid contains no folder named after a class"):
        list_records(folder_data(root))


# --- ignored folders ----------------------------------------------------------------------------------


def test_a_warning_names_folders_with_ignored_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = {"train/crack": 4, "train/intact": 4, "train/unsure": 1, "more cracks/deep": 1, "outlines/train": 1}
    root = make_folders(tmp_path / "data", counts)
    (root / "notes").mkdir()
    (root / "notes/read.txt").write_text("no image")
    shutil.copy(next(root.glob("train/crack/*")), root / "train/loose.png")
    (root / "latest").symlink_to(root / "train")  # listed through the other path
    data = folder_data(root, masks="notes/../outlines", image_size=8)
    load_splits(data, Runtime(cache=str(tmp_path / "cache")))
    assert "images in train itself, more cracks, train/unsure are ignored" in caplog.text
