"""`crackdet cache`: cached arrays are listed, and deleted if they have not been used for long."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from crackdet.cli.main import app
from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.data.cache_gc import DAY
from crackdet.data.dataset import load_splits
from tests.data.image_files import make_folders


def arrays_in(cache: Path) -> list[Path]:
    return sorted((cache / "pixels").glob("*.npy"))


def set_age(cache: Path, days: float) -> None:
    for path in (cache / "pixels").iterdir():
        os.utime(path, 2 * (time.time() - days * DAY,))


def run_cache_command(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["cache", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def data(tmp_path: Path) -> FolderData:
    root = make_folders(tmp_path / "photos", {"crack": 6, "noncrack": 6})
    return FolderData(root=str(root), image_size=8)


@pytest.fixture
def cache(tmp_path: Path, data: FolderData) -> Path:
    """A cache with one array of twelve images, last used 100 days ago."""
    folder = tmp_path / "cache"
    load_splits(data, Runtime(cache=str(folder)))
    set_age(folder, 100)
    return folder


def test_listing_deletes_nothing(cache: Path) -> None:
    text = run_cache_command(cache)
    assert "12" in text and "100 days" in text and "1 set of images" in text
    run_cache_command(cache, "--unused", 30)
    assert len(arrays_in(cache)) == 1


def test_a_new_array_is_kept(cache: Path, data: FolderData) -> None:
    load_splits(FolderData(root=data.root, image_size=9), Runtime(cache=str(cache)))
    text = run_cache_command(cache, "--unused", 30, "--yes")
    (kept,) = arrays_in(cache)
    assert np.load(kept).shape == (12, 9, 9, 3) and "deleted 1 of 1" in text


def test_using_an_array_keeps_it(cache: Path, data: FolderData) -> None:
    load_splits(data, Runtime(cache=str(cache)))
    assert "deleted 0 of 0" in run_cache_command(cache, "--unused", 30, "--yes")
    assert len(arrays_in(cache)) == 1


def test_a_deleted_array_is_rebuilt_with_the_same_pixels(cache: Path, data: FolderData) -> None:
    before = load_splits(data, Runtime(cache=str(cache)))["train"].pixels.array
    content = before.copy()
    set_age(cache, 100)
    run_cache_command(cache, "--unused", 30, "--yes")
    assert not arrays_in(cache)
    assert np.array_equal(before, content), "an open array can still be read"
    assert np.array_equal(load_splits(data, Runtime(cache=str(cache)))["train"].pixels.array, content)


def test_an_array_that_is_being_built_is_not_deleted(cache: Path) -> None:
    (file,) = arrays_in(cache)
    file.rename(file.with_name(f".{file.name}.tmp"))
    with FileLock(file.with_suffix(".lock")):
        assert "deleted 0 of 1" in run_cache_command(cache, "--unused", 30, "--yes")
    assert "deleted 1 of 1" in run_cache_command(cache, "--unused", 30, "--yes")
    assert not list((cache / "pixels").glob(".*.tmp"))


def test_a_damaged_array_is_listed_and_can_be_deleted(cache: Path) -> None:
    (file,) = arrays_in(cache)
    file.write_bytes(b"no array")
    set_age(cache, 100)
    assert "cannot be read" in run_cache_command(cache)
    assert "deleted 1 of 1" in run_cache_command(cache, "--unused", 30, "--yes")


@pytest.mark.parametrize(("arguments", "message"), [(["--yes"], "--unused 30"), (["nowhere"], "no such folder")])
def test_a_wrong_argument_gives_one_message(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["cache", *arguments])
    assert result.exit_code == 2 and message in result.output and "Traceback" not in result.output
