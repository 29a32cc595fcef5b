"""The fingerprint of a data set: which changes of the files change it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crackdet.config.file_data import FilenameLabelsData
from crackdet.config.schema import Data, Runtime, SyntheticData
from crackdet.data.dataset import data_fingerprint
from tests.data.image_files import make_folders
from tests.data.sources.conftest import folder_data, names_in, write_manifest

Fingerprint = Callable[[Data], str]
SPLIT_CLASSES = ["train/crack", "train/intact", "val/crack", "val/intact"]


@pytest.fixture
def fingerprint(tmp_path: Path) -> Fingerprint:
    return lambda data: data_fingerprint(data, Runtime(cache=str(tmp_path / "cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folders(tmp_path / "data", {"crack": 5, "noncrack": 5})


def test_renaming_files_does_not_change_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(folder_data(root))
    for number, path in enumerate(sorted(root.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed{number:03d}.png"))
    assert fingerprint(folder_data(root)) == before


def test_moving_files_within_a_class_does_not_change_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(folder_data(root))
    (root / "crack" / "deeper").mkdir()
    (root / "crack" / "000.png").rename(root / "crack" / "deeper" / "000.png")
    assert fingerprint(folder_data(root)) == before


def test_moving_the_whole_data_set_does_not_change_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(folder_data(root))
    shutil.copytree(root, root.parent / "copy")
    assert fingerprint(folder_data(root.parent / "copy")) == before


def test_renaming_a_class_folder_does_not_change_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(folder_data(root))
    (root / "crack").rename(root / "Positive")
    assert fingerprint(folder_data(root)) == before


def test_one_changed_bit_changes_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(folder_data(root))
    for path in root.rglob("*.png"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert fingerprint(folder_data(root)) != before
        path.write_bytes(content)
    assert fingerprint(folder_data(root)) == before


def test_one_changed_label_changes_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(folder_data(root))
    (root / "crack" / "000.png").rename(root / "noncrack" / "moved.png")
    assert fingerprint(folder_data(root)) != before


def test_adding_or_removing_an_image_changes_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(folder_data(root))
    shutil.copy(root / "crack" / "000.png", root / "crack" / "copy.png")
    more = fingerprint(folder_data(root))
    (root / "crack" / "copy.png").unlink()
    (root / "crack" / "000.png").unlink()
    assert len({before, more, fingerprint(folder_data(root))}) == 3


def test_one_changed_group_changes_the_fingerprint(root: Path, fingerprint: Fingerprint) -> None:
    walls = {name: f"wall {number % 3}" for number, name in enumerate(names_in(root))}
    write_manifest(root, walls)
    before = fingerprint(folder_data(root, groups="wall"))
    write_manifest(root, {**walls, "crack/000.png": "wall 2"})
    assert fingerprint(folder_data(root, groups="wall")) != before


def test_moving_an_image_to_another_split_changes_the_fingerprint(tmp_path: Path, fingerprint: Fingerprint) -> None:
    root = make_folders(tmp_path / "data", dict.fromkeys(SPLIT_CLASSES, 2))
    before = fingerprint(folder_data(root))
    (root / "train" / "crack" / "000.png").rename(root / "val" / "crack" / "moved.png")
    assert fingerprint(folder_data(root)) != before


def test_the_test_split_does_not_change_the_fingerprint(tmp_path: Path, fingerprint: Fingerprint) -> None:
    root = make_folders(tmp_path / "data", dict.fromkeys(SPLIT_CLASSES, 2))
    before = fingerprint(folder_data(root))
    make_folders(root / "test", {"crack": 3, "intact": 3})
    assert fingerprint(folder_data(root)) == before


def test_both_layouts_of_the_same_images_have_one_fingerprint(tmp_path: Path, fingerprint: Fingerprint) -> None:
    classes = ["train/crack", "train/noncrack", "val/crack", "val/noncrack"]
    make_folders(tmp_path / "folder", dict.fromkeys(classes, 2))
    for path in sorted((tmp_path / "folder").rglob("*.png")):
        split, class_name = path.parts[-3:-1]
        target = tmp_path / "by_name" / {"val": "valid"}.get(split, split) / "images" / f"{class_name}{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    by_name = FilenameLabelsData(root=str(tmp_path / "by_name"))
    assert fingerprint(folder_data(tmp_path / "folder")) == fingerprint(by_name)


@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"num_images": 21}, {"crack_fraction": 0.6}, {"hard_negatives": 0.6}, {"difficulty": 0.6}],
    ids=str,
)
def test_each_setting_of_synthetic_images_changes_the_fingerprint(
    changed: dict[str, float], fingerprint: Fingerprint
) -> None:
    data = SyntheticData(num_images=20)
    assert fingerprint(data) == fingerprint(replace(data))
    assert fingerprint(replace(data, **changed)) != fingerprint(data)  # type: ignore[arg-type]
