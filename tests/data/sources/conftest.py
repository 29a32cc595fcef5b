"""Fixtures for the tests of the sources."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.config.schema import Data
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders

ListRecords = Callable[[Data], list[ImageRecord]]


@pytest.fixture
def list_records(tmp_path: Path) -> ListRecords:
    """Lists the images of a data configuration."""
    return lambda data: open_source(data, tmp_path / "cache").photographs()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images with a crack and five without."""
    return make_folders(tmp_path / "data", {"crack": 5, "noncrack": 5})
