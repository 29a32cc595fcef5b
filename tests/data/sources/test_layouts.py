"""`data=folder`: layouts as data sets are published and unpacked, read or told what to type."""

import shutil
from pathlib import Path

import pytest

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.data.dataset import load_splits
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders, save_image
from tests.data.sources.conftest import ListRecords, folder_data, labels_and_splits

SDNET = [f"{part}/{label}{part}" for part in "DPW" for label in "CU"]  # as SDNET2018 is published


def warnings_of(root: Path, tmp_path: Path, **settings: object) -> str:
    source = open_source(folder_data(root, **settings), tmp_path / "cache")
    source.list_records()
    return "\n".join(source.warnings)


@pytest.mark.parametrize(
    ("counts", "settings", "cracks"),
    [
        (SDNET, {"crack_names": ["CD", "CP", "CW"], "no_crack_names": ["UD", "UP", "UW"]}, ["D/CD", "P/CP", "W/CW"]),
        (["Decks/Cracked", "Decks/Non-cracked", "Walls/Cracked", "Walls/Non-cracked"], {},
         ["Decks/Cracked", "Walls/Cracked"]),
        (["Concrete Crack Images for Classification/Positive", "Concrete Crack Images for Classification/Negative"], {},
         ["Concrete Crack Images for Classification/Positive"]),
        (["a/b/c/crack", "a/b/c/intact"], {}, ["a/b/c/crack"]),
        (["cracks/Cracked", "cracks/Uncracked"], {}, ["cracks/Cracked"]),
        (["images/crack", "images/intact", "masks/crack", "masks/intact"], {}, ["images/crack"]),
    ],
    ids=["SDNET2018", "parts", "archive", "deep", "a root named like a class", "masks beside"],
)  # fmt: skip
def test_class_folders_below_other_folders_are_found(
    counts: list[str], settings: dict[str, object], cracks: list[str], tmp_path: Path, list_records: ListRecords
) -> None:
    root = make_folders(tmp_path / "data", dict.fromkeys(counts, 2))
    found = labels_and_splits(list_records(folder_data(root, **settings)))
    assert {name.rpartition("/")[0] for name, (crack, _) in found.items() if crack} == set(cracks)
    assert {split for _, split in found.values()} == {None}


@pytest.mark.parametrize(
    "folder", ["data/{split}/{name}", "{split}/data/{name}", "data/{name}/{split}", "{split}/{name}/data"]
)
def test_splits_are_found_at_every_level(folder: str, tmp_path: Path, list_records: ListRecords) -> None:
    splits = {"Train": "train", "val": "valid", "testing": "test"}
    counts = {folder.format(split=split, name=name): 1 for split in splits for name in ("crack", "intact")}
    root = make_folders(tmp_path / "data", counts)
    found = labels_and_splits(list_records(folder_data(root)))
    assert {name.rpartition("/")[0]: label for name, label in found.items()} == {
        folder.format(split=split, name=name): (name == "crack", expected)
        for split, expected in splits.items()
        for name in ("crack", "intact")
    }


def test_folders_whose_classes_are_taken_together_are_named(tmp_path: Path) -> None:
    counts = ["Decks/Cracked", "Decks/Non-cracked", "Walls/Cracked", "Walls/Non-cracked"]
    root = make_folders(tmp_path / "data", dict.fromkeys(counts, 2))
    expected = f"the classes in Decks, Walls are used together; set data.root={root}/Decks to use only one"
    assert expected in warnings_of(root, tmp_path)


def test_a_link_to_the_same_folders_or_above_adds_no_image(tmp_path: Path, list_records: ListRecords) -> None:
    root = make_folders(tmp_path / "data", {"2024/crack": 2, "2024/intact": 2})
    (root / "latest").symlink_to(root / "2024")
    (root / "2024" / "crack" / "up").symlink_to(root / "2024")
    (root / "loop").symlink_to(root)
    assert len(list_records(folder_data(root))) == 4
    assert "1 link to a parent folder" in warnings_of(root, tmp_path)


@pytest.mark.parametrize("system", ["__MACOSX", "@eaDir", "#recycle", ".Trash-1000", "$RECYCLE.BIN"])
def test_system_folders_are_never_taken_for_photographs(
    system: str, root: Path, tmp_path: Path, list_records: ListRecords
) -> None:
    expected = list_records(folder_data(root))
    for folder in (root, root / "crack", root / "noncrack"):
        make_folders(folder / system, {"crack": 2, "noncrack": 1, "": 1})
    assert list_records(folder_data(root)) == expected
    assert f"{2 if system.startswith('.') else 3} folder {system}" in warnings_of(root, tmp_path)


# --- told what to type --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (SDNET, r"but D/CD, D/UD, .*W/UW; .*data.crack_names=\[CD,CP,CW\] data.no_crack_names=\[UD,UP,UW\]"),
        (["train/defects", "train/background", "val/defects", "val/background"],
         r"in train/defects, val/defects are in no class: if these images show cracks, set "
         r"data.crack_names=\[defects\]"),
        (["crack", "normal"],
         r"in normal are in no class: if these images show none, set data.no_crack_names=\[normal\]"),
        (["crack", "as new/2024"], r"set 'data.no_crack_names=\[as new\]'"),
        (["broken parts", "whole"], r"but broken parts, whole; name the classes: the folders with cracks in data"),
        (["defects", "sound"], r"name the classes, as in data.crack_names=\[defects\] data.no_crack_names=\[sound\]"),
        (["bad/defect", "good/no defect"], r"name the classes: the folders with cracks in data.crack_names=\[\.\.\.\]"),
        (["set1/crack", "set2/noncrack"], r"set2/noncrack is not beside set1/crack"),
    ],
)  # fmt: skip
def test_folders_without_a_known_class_are_named_with_the_setting(
    counts: list[str], message: str, tmp_path: Path, list_records: ListRecords
) -> None:
    root = make_folders(tmp_path / "data", dict.fromkeys(counts, 2))
    with pytest.raises(UserError, match=message):
        list_records(folder_data(root))


@pytest.mark.parametrize("counts", [SDNET, ["Decks/a", "Walls/b"], ["crack/D", "normal/W"]])
def test_no_hint_separates_places(counts: list[str], tmp_path: Path, list_records: ListRecords) -> None:
    root = make_folders(tmp_path / "data", dict.fromkeys(counts, 2))
    with pytest.raises(UserError) as error:
        list_records(folder_data(root))
    assert not any(f"[{place}" in str(error.value) for place in ("D]", "W]", "P]", "Decks", "Walls"))


def test_a_class_folder_in_one_of_the_other_class_is_rejected(root: Path, list_records: ListRecords) -> None:
    save_image(root / "crack" / "non-crack" / "1.png", 90)
    with pytest.raises(UserError, match="crack/non-crack is a folder of one class in a folder of the other class"):
        list_records(folder_data(root))


def test_masks_inside_a_class_folder_are_doubted(root: Path, tmp_path: Path) -> None:
    save_image(root / "crack" / "masks" / "1.png", 90)
    assert "images in crack/masks are used as photographs" in warnings_of(root, tmp_path)


def test_images_in_some_split_folders_only_are_rejected(tmp_path: Path, list_records: ListRecords) -> None:
    root = make_folders(tmp_path / "data", {"A/train/crack": 2, "A/train/intact": 2, "B/crack": 2, "B/intact": 2})
    with pytest.raises(UserError, match=r"A/train/crack/\S+ is in a folder named after a split and B/\S+ is not"):
        list_records(folder_data(root))


# --- files that are left out --------------------------------------------------------------------------


def test_files_that_are_no_images_are_counted_by_extension(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.CR2", "b.cr2", "deep/c.dng", "notes", "._a.png", ".hidden.png", "Thumbs.db", ".DS_Store"):
        (root / "crack" / name).parent.mkdir(exist_ok=True)
        (root / "crack" / name).write_bytes(b"")
    (root / "crack" / "empty.jpg").mkdir()
    load_splits(folder_data(root, image_size=8), Runtime(cache=str(tmp_path / "cache")))
    (line,) = [record.message for record in caplog.records if "left out" in record.message]
    assert line.startswith(f"data: {root}: left out 2 .cr2, ")
    for kind in ("1 .dng", "1 file without extension", "1 hidden image", "1 folder named like an image"):
        assert kind in line
    assert "db" not in line and "DS_Store" not in line


def test_a_class_of_files_that_are_no_images_is_rejected_and_counted(root: Path, list_records: ListRecords) -> None:
    shutil.rmtree(root / "crack")
    (root / "crack").mkdir()
    (root / "crack" / "a.nef").write_bytes(b"")
    with pytest.raises(UserError, match=r"crack holds no image .*; it holds 1 \.nef"):
        list_records(folder_data(root))


def test_a_home_folder_in_the_root_is_expanded(
    root: Path, tmp_path: Path, list_records: ListRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    assert list_records(FolderData(root=f"~/{root.name}")) == list_records(folder_data(root))


# --- images that are no photographs, and sets of one class ------------------------------------------------------


def test_masks_beside_photographs_are_left_out_and_counted(root: Path, tmp_path: Path) -> None:
    for number, name in enumerate(["000_mask.png", "001-gt.bmp", "lonely_mask.png"]):
        save_image(root / "crack" / name, 50 + number)
    source = open_source(folder_data(root), tmp_path / "cache")
    assert len(source.list_records()) == 11
    assert source.warnings == [
        "2 images such as crack/000_mask.png are masks of photographs beside them, and are left out"
    ]


@pytest.mark.parametrize("layout", ["{split}/{name}", "{name}/{split}"])
def test_two_folders_of_one_split_are_told(layout: str, tmp_path: Path) -> None:
    splits = ("train", "val", "valid")
    folders = [layout.format(split=split, name=name) for split in splits for name in ("crack", "intact")]
    warnings = warnings_of(make_folders(tmp_path / "data", dict.fromkeys(folders, 1)), tmp_path)
    names = ["val, valid"] if layout.startswith("{split}") else ["crack/val, crack/valid", "intact/val, intact/valid"]
    assert warnings.splitlines() == [f"the folders {each} are used together as the valid split" for each in names]


@pytest.mark.parametrize(
    ("folders", "number"),
    [(["intact"], 2), (["north/intact", "south/intact"], 4), (["crack"], 2), (["train/intact", "val/intact"], 4)],
)
def test_a_set_of_one_class_is_listed_if_that_is_enough(folders: list[str], number: int, tmp_path: Path) -> None:
    source = open_source(folder_data(make_folders(tmp_path / "data", dict.fromkeys(folders, 2))), tmp_path / "cache")
    records = source.list_records(both_classes=False)
    assert len(records) == number and len({record.crack for record in records}) == 1
    with pytest.raises(UserError, match="both classes are needed"):
        source.list_records()


def test_a_class_folder_itself_can_be_the_set_of_one_class(root: Path, tmp_path: Path) -> None:
    records = open_source(folder_data(root / "noncrack"), tmp_path / "cache").list_records(both_classes=False)
    assert [record.crack for record in records] == [False] * 5
    with pytest.raises(UserError, match="images, but no class folder"):
        open_source(folder_data(root / "noncrack"), tmp_path / "cache").list_records()


def test_a_folder_of_the_other_class_elsewhere_is_not_overlooked(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "data", {"north/crack": 2, "south/intact": 2})
    with pytest.raises(UserError, match="south/intact is not beside north/crack"):
        open_source(folder_data(root), tmp_path / "cache").list_records(both_classes=False)


def test_photographs_in_no_class_folder_come_with_the_setting_that_names_theirs(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "walls", {".": 3})
    with pytest.raises(UserError, match=r"name this folder: data\.no_crack_names=\[walls\]"):
        open_source(folder_data(root), tmp_path / "cache").list_records(both_classes=False)
    named = folder_data(root, no_crack_names=["walls"])
    assert len(open_source(named, tmp_path / "cache").list_records(both_classes=False)) == 3
