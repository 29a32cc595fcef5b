"""Fixtures and helpers for the tests of the sources."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Data
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders

ListRecords = Callable[[Data], list[ImageRecord]]


@pytest.fixture
def list_records(tmp_path: Path) -> ListRecords:
    """Lists the images of a data configuration."""
    return lambda data: open_source(data, tmp_path / "cache").list_records()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images with a crack and five without."""
    return make_folders(tmp_path / "data", {"crack": 5, "noncrack": 5})


def folder_data(root: Path, **settings: object) -> FolderData:
    return replace(FolderData(root=str(root)), **settings)  # type: ignore[arg-type]


def write_manifest(root: Path, groups: dict[str, str], column: str = "wall") -> None:
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", column), *groups.items()])


def names_in(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))


def labels_and_splits(records: list[ImageRecord]) -> dict[str, tuple[bool, str | None]]:
    return {record.name: (record.crack, record.split) for record in records}
