"""Which files are images, and which folders are searched."""

import shutil
from pathlib import Path

import pytest

from crackdet.config.file_data import FilenameLabelsData, FolderData
from crackdet.core.errors import UserError
from crackdet.data.decode import IMAGE_EXTENSIONS
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders, save_image
from tests.data.sources.conftest import ListRecords, folder_data, labels_and_splits, names_in


def test_every_extension_is_found_in_lower_and_upper_case(tmp_path: Path, list_records: ListRecords) -> None:
    root = make_folders(tmp_path / "data", {"noncrack": 1})
    extensions = [*IMAGE_EXTENSIONS, *(extension.upper() for extension in IMAGE_EXTENSIONS)]
    for number, extension in enumerate(extensions):
        save_image(root / "crack" / f"{number}.png", number).rename(root / "crack" / f"{number}-renamed{extension}")
    assert len(list_records(folder_data(root))) == 1 + 2 * len(IMAGE_EXTENSIONS)


def test_other_files_are_not_listed(root: Path, list_records: ListRecords) -> None:
    (root / "crack" / "Thumbs.db").write_bytes(b"")
    (root / "crack" / "readme.txt").write_text("cracks")
    (root / "crack" / "folder.jpg").mkdir()
    assert len(list_records(folder_data(root))) == 10


def test_links_are_followed_and_hidden_files_are_skipped(root: Path, list_records: ListRecords) -> None:
    before = names_in(root)
    elsewhere = root.parent / "elsewhere"
    shutil.copytree(root / "crack", elsewhere)
    (root / "crack" / "more").symlink_to(elsewhere)
    (root / "crack" / "again").symlink_to(root / "crack")  # a cycle
    (root / "crack" / "a link").symlink_to(root / "crack" / "deep" / "er")  # to a folder that is listed anyway
    (root / "crack" / "deep" / "er").mkdir(parents=True)
    shutil.copy(next(elsewhere.iterdir()), root / "crack" / "deep" / "er" / "own.png")
    (root / "crack" / ".checkpoints").mkdir()
    shutil.copy(next(root.rglob("*.png")), root / "crack" / ".checkpoints" / "old.png")
    shutil.copy(next(root.rglob("*.png")), root / "crack" / "._001.png")
    linked = {f"crack/more/{path.name}" for path in elsewhere.iterdir()}
    assert {record.name for record in list_records(folder_data(root))} == {*before, *linked, "crack/deep/er/own.png"}


def test_a_broken_link_is_listed_as_an_image(root: Path, list_records: ListRecords) -> None:
    (root / "crack" / "lost.png").symlink_to(root / "elsewhere.png")
    assert "crack/lost.png" in labels_and_splits(list_records(folder_data(root)))


@pytest.mark.parametrize("kind", [FolderData, FilenameLabelsData])
def test_a_missing_root_is_rejected(kind: type[FolderData] | type[FilenameLabelsData], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: there is no such folder"):
        open_source(kind(root=str(tmp_path / "nowhere")), tmp_path / "cache")
