"""Folders of photographs: what is found in them, what it is called, and what it amounts to."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest

from crackdet.config.schema import Data, FilenameLabelsData, FolderData, Runtime, SyntheticData
from crackdet.core.errors import UserError
from crackdet.data.dataset import data_fingerprint, load_splits
from crackdet.data.decode import EXTENSIONS
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from tests.data.pictures import fill, picture, save

Listing = Callable[[Data], list[ImageRecord]]
Print = Callable[[Data], str]


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    return lambda data: open_source(data, tmp_path / "cache").photographs()


@pytest.fixture
def print_of(tmp_path: Path) -> Print:
    return lambda data: data_fingerprint(data, Runtime(cache=str(tmp_path / "cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five cracks and five walls without."""
    return fill(tmp_path / "data", {"crack": 5, "noncrack": 5})


def folder(root: Path, **settings: object) -> FolderData:
    return replace(FolderData(root=str(root)), **settings)  # type: ignore[arg-type]


def write_manifest(root: Path, groups: dict[str, str], column: str = "wall") -> None:
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", column), *groups.items()])


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))


def found(photographs: list[ImageRecord]) -> dict[str, tuple[bool, str | None]]:
    return {photograph.name: (photograph.crack, photograph.split) for photograph in photographs}


# --- class-named folders ------------------------------------------------------------------------------


def test_folders_named_after_classes_give_the_labels(root: Path, listing: Listing) -> None:
    photographs = found(listing(folder(root)))
    assert photographs == {name: (name.startswith("crack"), None) for name in names(root)}


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
def test_usual_class_names_are_known_however_they_are_written(
    crack: str, no_crack: str, tmp_path: Path, listing: Listing
) -> None:
    photographs = listing(folder(fill(tmp_path / "data", {crack: 2, no_crack: 3})))
    assert [photograph.crack for photograph in photographs].count(True) == 2
    assert [photograph.crack for photograph in photographs].count(False) == 3


def test_class_names_can_be_given(tmp_path: Path, listing: Listing) -> None:
    root = fill(tmp_path / "data", {"broken": 2, "whole": 3, "crack": 4})
    photographs = listing(folder(root, crack_names=["broken"], no_crack_names=["whole"]))
    assert {name.split("/")[0]: crack for name, (crack, _) in found(photographs).items()} == {
        "broken": True,
        "whole": False,
    }


def test_images_of_deeper_folders_belong_to_the_class(root: Path, listing: Listing) -> None:
    save(root / "crack" / "bridge" / "north" / "deep.png", 50)
    assert found(listing(folder(root)))["crack/bridge/north/deep.png"] == (True, None)


@pytest.mark.parametrize("written", [".", "./", "../data", "{root}/", "/../{root}"])
def test_a_root_may_be_written_in_any_way(
    written: str, root: Path, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = listing(folder(root))
    monkeypatch.chdir(root)
    assert listing(FolderData(root=written.format(root=root))) == usual


def test_every_extension_is_found_in_any_case(tmp_path: Path, listing: Listing) -> None:
    root = fill(tmp_path / "data", {"noncrack": 1})
    for number, extension in enumerate([*EXTENSIONS, *(extension.upper() for extension in EXTENSIONS)], start=10):
        save(root / "crack" / f"{number}{extension}", number)
    assert len(listing(folder(root))) == 1 + 2 * len(EXTENSIONS)


def test_other_files_are_no_images(root: Path, listing: Listing) -> None:
    (root / "crack" / "Thumbs.db").write_bytes(b"")
    (root / "crack" / "readme.txt").write_text("cracks")
    (root / "crack" / "folder.jpg").mkdir()
    assert len(listing(folder(root))) == 10


def test_links_are_followed_and_what_programs_hide_is_no_image(root: Path, listing: Listing) -> None:
    before = names(root)
    elsewhere = root.parent / "elsewhere"
    shutil.copytree(root / "crack", elsewhere)
    (root / "crack" / "more").symlink_to(elsewhere)
    (root / "crack" / "again").symlink_to(root / "crack")  # in a circle
    (root / "crack" / "a link").symlink_to(root / "crack" / "deep" / "er")  # to what is there anyway
    (root / "crack" / "deep" / "er").mkdir(parents=True)
    shutil.copy(next(elsewhere.iterdir()), root / "crack" / "deep" / "er" / "own.png")
    (root / "crack" / ".checkpoints").mkdir()
    shutil.copy(next(root.rglob("*.png")), root / "crack" / ".checkpoints" / "old.png")
    shutil.copy(next(root.rglob("*.png")), root / "crack" / "._001.png")
    copied = {f"crack/more/{path.name}" for path in elsewhere.iterdir()}
    assert {photograph.name for photograph in listing(folder(root))} == {*before, *copied, "crack/deep/er/own.png"}


def test_class_names_are_the_same_in_each_form_of_unicode(tmp_path: Path, listing: Listing) -> None:
    fill(tmp_path, {normalize("NFD", "Beschädigt"): 2, "heil": 2})
    given = folder(tmp_path, crack_names=[normalize("NFC", "beschädigt")], no_crack_names=["heil"])
    assert sum(photograph.crack for photograph in listing(given)) == 2


def test_a_link_to_nowhere_counts_as_an_image(root: Path, listing: Listing) -> None:
    (root / "crack" / "lost.png").symlink_to(root / "elsewhere.png")
    assert "crack/lost.png" in found(listing(folder(root)))


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Val"])
@pytest.mark.parametrize("train", ["train", "training", "Train"])
def test_split_folders_give_the_splits(train: str, valid: str, tmp_path: Path, listing: Listing) -> None:
    kinds = {f"{train}/crack": 2, f"{train}/intact": 2, f"{valid}/crack": 1, f"{valid}/intact": 1}
    root = fill(tmp_path / "data", kinds | {"test/crack": 1, "test/intact": 1})
    expected = {train: "train", valid: "valid", "test": "test"}
    assert found(listing(folder(root))) == {
        name: (name.split("/")[1] == "crack", expected[name.split("/")[0]]) for name in names(root)
    }


def test_splits_may_be_folders_of_the_classes(tmp_path: Path, listing: Listing) -> None:
    inside = fill(tmp_path / "inside", {"crack/train": 2, "intact/train": 2, "crack/val": 1, "intact/Valid/deep": 1})
    outside = fill(tmp_path / "outside", {"train/crack": 2, "train/intact": 2, "val/crack": 1, "val/intact": 1})
    splits = [sorted((p.crack, p.split) for p in listing(folder(root))) for root in (inside, outside)]
    assert splits[0] == splits[1] and {split for _, split in splits[0]} == {"train", "valid"}


def test_images_beside_splits_in_a_class_are_refused(tmp_path: Path, listing: Listing) -> None:
    root = fill(tmp_path / "data", {"crack/train": 2, "intact": 2})
    with pytest.raises(UserError, match=r"crack/train/\S+ is in a folder named after a split and intact/\S+ is not"):
        listing(folder(root))


def test_a_name_that_stands_for_both_classes_is_refused(root: Path, listing: Listing) -> None:
    with pytest.raises(UserError, match=r"data.crack_names, data.no_crack_names: Non-Crack is in both"):
        listing(folder(root, crack_names=["crack", "Non-Crack"]))


def test_folders_with_images_that_are_of_no_class_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds = {"train/crack": 4, "train/intact": 4, "train/unsure": 1, "more cracks/deep": 1, "outlines/train": 1}
    root = fill(tmp_path / "data", kinds)
    (root / "notes").mkdir()
    (root / "notes/read.txt").write_text("of no interest")
    shutil.copy(next(root.glob("train/crack/*")), root / "train/loose.png")
    (root / "latest").symlink_to(root / "train")  # read by another way
    data = folder(root, masks="notes/../outlines", image_size=8)
    load_splits(data, Runtime(cache=str(tmp_path / "cache")))
    assert "the images in train itself, more cracks, train/unsure are left out" in caplog.text


def test_photographs_are_listed_without_looking_at_their_names(root: Path, listing: Listing) -> None:
    digests = [photograph.digest for photograph in listing(folder(root))]
    for number, path in enumerate(sorted(root.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed{number:03d}.png"))
    assert [photograph.digest for photograph in listing(folder(root))] == digests


# --- the article's layout -----------------------------------------------------------------------------


def test_the_article_layout_is_labelled_by_file_names(tmp_path: Path, listing: Listing) -> None:
    for number, name in enumerate(["train/images/noncrack_1.jpg", "train/images/Rissbilder_2.jpg"]):
        save(tmp_path / "data" / name, number)
    for number, name in enumerate(["valid/images/CFD_3.jpg", "valid/images/a-noncrack-4.jpg"], start=2):
        save(tmp_path / "data" / name, number)
    save(tmp_path / "data" / "train" / "masks" / "Rissbilder_2.jpg", 9)
    assert found(listing(FilenameLabelsData(root=str(tmp_path / "data")))) == {
        "train/images/noncrack_1.jpg": (False, "train"),
        "train/images/Rissbilder_2.jpg": (True, "train"),
        "valid/images/CFD_3.jpg": (True, "valid"),
        "valid/images/a-noncrack-4.jpg": (False, "valid"),
    }


def test_the_article_layout_may_have_a_test_split(tmp_path: Path, listing: Listing) -> None:
    for number, split in enumerate(["train", "valid", "test"]):
        save(tmp_path / "data" / split / "images" / "crack.jpg", number)
        save(tmp_path / "data" / split / "images" / "noncrack.jpg", number + 10)
    photographs = listing(FilenameLabelsData(root=str(tmp_path / "data")))
    assert [photograph.split for photograph in photographs].count("test") == 2


def test_the_negative_mark_can_be_given(tmp_path: Path, listing: Listing) -> None:
    save(tmp_path / "data" / "train" / "images" / "sound_1.jpg", 1)
    save(tmp_path / "data" / "train" / "images" / "noncrack_2.jpg", 2)
    photographs = listing(FilenameLabelsData(root=str(tmp_path / "data"), negative_mark="sound"))
    assert found(photographs) == {
        "train/images/sound_1.jpg": (False, "train"),
        "train/images/noncrack_2.jpg": (True, "train"),
    }


def test_the_article_layout_without_train_is_refused(tmp_path: Path, listing: Listing) -> None:
    fill(tmp_path / "data", {"crack": 1, "noncrack": 1})
    with pytest.raises(UserError, match=r"data\.root=.*train.images is missing"):
        listing(FilenameLabelsData(root=str(tmp_path / "data")))


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FolderData, FilenameLabelsData])
def test_a_missing_folder_is_refused(kind: type[FolderData] | type[FilenameLabelsData], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: there is no such folder"):
        open_source(kind(root=str(tmp_path / "nowhere")), tmp_path / "cache")


def test_an_empty_class_is_refused(tmp_path: Path, listing: Listing) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*noncrack holds no image"):
        listing(folder(fill(tmp_path / "data", {"crack": 2, "noncrack": 0})))


@pytest.mark.parametrize(("there", "missing"), [("crack", "without a crack"), ("noncrack", "with a crack")])
def test_one_class_only_is_refused(there: str, missing: str, tmp_path: Path, listing: Listing) -> None:
    with pytest.raises(UserError, match=rf"holds no image {missing}; both classes are needed"):
        listing(folder(fill(tmp_path / "data", {there: 3})))


def test_folders_without_class_names_are_refused_and_named(tmp_path: Path, listing: Listing) -> None:
    with pytest.raises(UserError, match=r"no folder named after a class, but broken, whole; .*data\.crack_names="):
        listing(folder(fill(tmp_path / "data", {"broken": 2, "whole": 2})))


def test_an_empty_folder_is_refused(tmp_path: Path, listing: Listing) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="holds no folder; each class has one"):
        listing(folder(tmp_path / "data"))


def test_a_split_folder_without_classes_is_refused_and_named(tmp_path: Path, listing: Listing) -> None:
    root = fill(tmp_path / "data", {"train/crack": 2, "train/noncrack": 2, "valid/images": 2})
    with pytest.raises(UserError, match=r"valid holds no folder named after a class"):
        listing(folder(root))


def test_synthetic_images_of_one_class_are_refused(listing: Listing) -> None:
    with pytest.raises(UserError, match=r"data\.crack_fraction=1e-09: holds no image with a crack"):
        listing(SyntheticData(num_images=10, crack_fraction=1e-9))


# --- groups -------------------------------------------------------------------------------------------


def test_the_manifest_gives_each_image_its_group(root: Path, listing: Listing) -> None:
    walls = {name: f"wall {place % 3}" for place, name in enumerate(names(root))}
    write_manifest(root, walls)
    photographs = listing(folder(root, groups="wall"))
    assert {photograph.name: photograph.group for photograph in photographs} == walls


def test_the_manifest_is_not_read_where_no_groups_are_asked_for(root: Path, listing: Listing) -> None:
    (root / "manifest.csv").write_bytes(b"\xff\xfe nonsense")
    assert {photograph.group for photograph in listing(folder(root))} == {None}


def test_a_manifest_saved_by_a_spreadsheet_is_read(root: Path, listing: Listing) -> None:
    rows = [f'"{name}";x'.replace(";", ",") for name in names(root)]
    (root / "manifest.csv").write_text("\r\n".join(["path,wall", *rows, ""]), encoding="utf-8-sig")
    assert {photograph.group for photograph in listing(folder(root, groups="wall"))} == {"x"}


@pytest.mark.parametrize(
    ("rest", "said"), [("{name}\n", "says no wall of {name}"), ("{name},a\n{name},b\n", "{name} is of a and of b")]
)
def test_a_manifest_that_leaves_a_group_open_is_refused(root: Path, listing: Listing, rest: str, said: str) -> None:
    name = names(root)[0]
    (root / "manifest.csv").write_text("path,wall\n" + rest.format(name=name))
    with pytest.raises(UserError, match=said.format(name=name)):
        listing(folder(root, groups="wall"))


def test_a_row_of_the_manifest_may_be_cut_short(root: Path, listing: Listing) -> None:
    rows = "".join(f"{name[:5]},{name}\n" for name in names(root))
    (root / "manifest.csv").write_text(f"wall,path\n{rows}north\n")
    assert {photograph.group for photograph in listing(folder(root, groups="wall"))} == {
        name[:5] for name in names(root)
    }


def test_a_missing_manifest_is_refused(root: Path, listing: Listing) -> None:
    with pytest.raises(UserError, match=r"data\.manifest=manifest\.csv: .* cannot be read"):
        listing(folder(root, groups="wall"))


@pytest.mark.parametrize("content", [b"path,wall\n\xff\xfe,1\n", b'path,wall\n"a' + b"x" * 140_000 + b'",1\n'])
def test_an_unreadable_manifest_is_refused(content: bytes, root: Path, listing: Listing) -> None:
    (root / "manifest.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"data\.manifest=manifest\.csv: .* cannot be read"):
        listing(folder(root, groups="wall"))


@pytest.mark.parametrize(
    ("header", "missing"), [("path,block", "wall"), ("file,wall", "path"), ("", "path")], ids=["group", "path", "all"]
)
def test_a_manifest_without_a_column_is_refused(header: str, missing: str, root: Path, listing: Listing) -> None:
    (root / "manifest.csv").write_text(f"{header}\n")
    with pytest.raises(UserError, match=rf"data\.groups=wall: .* has no column {missing}; it has"):
        listing(folder(root, groups="wall"))


def test_a_manifest_without_a_row_for_an_image_is_refused(root: Path, listing: Listing) -> None:
    write_manifest(root, {name: "1" for name in names(root) if name != "crack/002.png"})
    with pytest.raises(UserError, match=r"data\.manifest=manifest\.csv: has no row for crack/002\.png"):
        listing(folder(root, groups="wall"))


# --- the fingerprint ----------------------------------------------------------------------------------


def test_renaming_files_does_not_change_the_fingerprint(root: Path, print_of: Print) -> None:
    before = print_of(folder(root))
    for number, path in enumerate(sorted(root.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed{number:03d}.png"))
    assert print_of(folder(root)) == before


def test_moving_files_within_a_class_does_not_change_the_fingerprint(root: Path, print_of: Print) -> None:
    before = print_of(folder(root))
    (root / "crack" / "deeper").mkdir()
    (root / "crack" / "000.png").rename(root / "crack" / "deeper" / "000.png")
    assert print_of(folder(root)) == before


def test_moving_the_whole_data_set_does_not_change_the_fingerprint(root: Path, print_of: Print) -> None:
    before = print_of(folder(root))
    shutil.copytree(root, root.parent / "copy")
    assert print_of(folder(root.parent / "copy")) == before


def test_class_folders_of_other_names_do_not_change_the_fingerprint(root: Path, print_of: Print) -> None:
    before = print_of(folder(root))
    (root / "crack").rename(root / "Positive")
    assert print_of(folder(root)) == before


def test_one_changed_byte_changes_the_fingerprint(root: Path, print_of: Print) -> None:
    before = print_of(folder(root))
    for path in root.rglob("*.png"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert print_of(folder(root)) != before
        path.write_bytes(content)
    assert print_of(folder(root)) == before


def test_one_changed_label_changes_the_fingerprint(root: Path, print_of: Print) -> None:
    before = print_of(folder(root))
    (root / "crack" / "000.png").rename(root / "noncrack" / "moved.png")
    assert print_of(folder(root)) != before


def test_one_image_more_or_less_changes_the_fingerprint(root: Path, print_of: Print) -> None:
    before = print_of(folder(root))
    shutil.copy(root / "crack" / "000.png", root / "crack" / "copy.png")
    more = print_of(folder(root))
    (root / "crack" / "copy.png").unlink()
    (root / "crack" / "000.png").unlink()
    assert len({before, more, print_of(folder(root))}) == 3


def test_one_changed_group_changes_the_fingerprint(root: Path, print_of: Print) -> None:
    walls = {name: f"wall {place % 3}" for place, name in enumerate(names(root))}
    write_manifest(root, walls)
    before = print_of(folder(root, groups="wall"))
    write_manifest(root, {**walls, "crack/000.png": "wall 2"})
    assert print_of(folder(root, groups="wall")) != before


def test_one_image_in_another_split_changes_the_fingerprint(tmp_path: Path, print_of: Print) -> None:
    root = fill(tmp_path / "data", dict.fromkeys(["train/crack", "train/intact", "val/crack", "val/intact"], 2))
    before = print_of(folder(root))
    (root / "train" / "crack" / "000.png").rename(root / "val" / "crack" / "moved.png")
    assert print_of(folder(root)) != before


def test_the_test_split_is_outside_the_fingerprint(tmp_path: Path, print_of: Print) -> None:
    root = fill(tmp_path / "data", dict.fromkeys(["train/crack", "train/intact", "val/crack", "val/intact"], 2))
    before = print_of(folder(root))
    fill(root / "test", {"crack": 3, "intact": 3})
    assert print_of(folder(root)) == before


def test_both_layouts_of_the_same_images_have_one_fingerprint(tmp_path: Path, print_of: Print) -> None:
    fill(tmp_path / "folder", dict.fromkeys(["train/crack", "train/noncrack", "val/crack", "val/noncrack"], 2))
    for path in sorted((tmp_path / "folder").rglob("*.png")):
        split, kind = path.parts[-3:-1]
        target = tmp_path / "article" / {"val": "valid"}.get(split, split) / "images" / f"{kind}{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert print_of(folder(tmp_path / "folder")) == print_of(FilenameLabelsData(root=str(tmp_path / "article")))


@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"num_images": 21}, {"crack_fraction": 0.6}, {"hard_negatives": 0.6}, {"difficulty": 0.6}],
    ids=str,
)
def test_each_parameter_of_synthetic_images_changes_the_fingerprint(changed: dict[str, float], print_of: Print) -> None:
    data = SyntheticData(num_images=20)
    assert print_of(data) == print_of(replace(data))
    assert print_of(replace(data, **changed)) != print_of(data)  # type: ignore[arg-type]


def test_a_source_reads_the_photographs_it_lists(root: Path, tmp_path: Path) -> None:
    source = open_source(folder(root), tmp_path / "cache")
    pixels = {photograph.name: source.read(photograph, 12) for photograph in source.photographs()}
    for number, name in enumerate(names(root)):
        assert (pixels[name] == picture(number)).all()
