"""The cache's decoded images: listed, and deleted when nobody has used them for long."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from crackdet.cli.main import app
from crackdet.config.schema import FolderData, Runtime
from crackdet.data.cache_gc import DAY
from crackdet.data.dataset import load_splits
from tests.data.pictures import fill


def sets_in(cache: Path) -> list[Path]:
    return sorted((cache / "pixels").glob("*.npy"))


def age(cache: Path, days: float) -> None:
    for path in (cache / "pixels").iterdir():
        os.utime(path, 2 * (time.time() - days * DAY,))


def crackdet(*words: object) -> str:
    result = CliRunner().invoke(app, ["cache", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def data(tmp_path: Path) -> FolderData:
    root = fill(tmp_path / "photos", {"crack": 6, "noncrack": 6})
    return FolderData(root=str(root), image_size=8)


@pytest.fixture
def cache(tmp_path: Path, data: FolderData) -> Path:
    """With one set of twelve images, of 100 days ago."""
    folder = tmp_path / "cache"
    load_splits(data, Runtime(cache=str(folder)))
    age(folder, 100)
    return folder


def test_sets_are_listed_and_nothing_is_deleted_by_looking(cache: Path) -> None:
    text = crackdet(cache)
    assert "12" in text and "100 days" in text and "1 set of decoded images" in text
    crackdet(cache, "--unused", 30)
    assert len(sets_in(cache)) == 1


def test_what_was_used_lately_stays(cache: Path, data: FolderData) -> None:
    load_splits(FolderData(root=data.root, image_size=9), Runtime(cache=str(cache)))
    text = crackdet(cache, "--unused", 30, "--yes")
    (left,) = sets_in(cache)
    assert np.load(left).shape == (12, 9, 9, 3) and "deleted 1 of 1" in text


def test_using_a_set_keeps_it(cache: Path, data: FolderData) -> None:
    load_splits(data, Runtime(cache=str(cache)))
    assert "deleted 0 of 0" in crackdet(cache, "--unused", 30, "--yes")
    assert len(sets_in(cache)) == 1


def test_deleted_images_are_the_same_when_they_are_needed_again(cache: Path, data: FolderData) -> None:
    before = load_splits(data, Runtime(cache=str(cache)))["train"].pixels.array
    content = before.copy()
    age(cache, 100)
    crackdet(cache, "--unused", 30, "--yes")
    assert not sets_in(cache)
    assert np.array_equal(before, content), "whoever has it open goes on with it"
    assert np.array_equal(load_splits(data, Runtime(cache=str(cache)))["train"].pixels.array, content)


def test_a_set_that_is_being_built_is_left_alone(cache: Path) -> None:
    (file,) = sets_in(cache)
    file.rename(file.with_name(f".{file.name}.tmp"))
    with FileLock(file.with_suffix(".lock")):
        assert "deleted 0 of 1" in crackdet(cache, "--unused", 30, "--yes")
    assert "deleted 1 of 1" in crackdet(cache, "--unused", 30, "--yes")
    assert not list((cache / "pixels").glob(".*.tmp"))


def test_a_damaged_array_is_listed_and_can_go(cache: Path) -> None:
    (file,) = sets_in(cache)
    file.write_bytes(b"no array")
    age(cache, 100)
    assert "cannot be read" in crackdet(cache)
    assert "deleted 1 of 1" in crackdet(cache, "--unused", 30, "--yes")


@pytest.mark.parametrize(("words", "said"), [(["--yes"], "--unused 30"), (["nowhere"], "no such folder")])
def test_mistakes_are_one_message(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["cache", *words])
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output
