"""Fixtures for the tests of the cache, and ways to damage its files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crackdet.config.schema import Runtime
from crackdet.data.cache import DecodedImages, decode_all
from tests.data.counting_source import SIZE, CountingSource

Decode = Callable[..., DecodedImages]


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(cache=str(tmp_path / "cache"))


@pytest.fixture
def pixels_dir(runtime: Runtime) -> Path:
    """The folder of the cached arrays."""
    return Path(runtime.cache) / "pixels"


@pytest.fixture
def source(tmp_path: Path) -> CountingSource:
    return CountingSource(tmp_path / "readings")


@pytest.fixture
def decode(source: CountingSource, runtime: Runtime) -> Decode:
    """Decodes all images of a source, with changed runtime settings if given."""

    def decode(changed: CountingSource = source, **settings: object) -> DecodedImages:
        return decode_all(changed, changed.list_records(), SIZE, replace(runtime, **settings))  # type: ignore[arg-type]

    return decode


def empty(file: Path) -> None:
    file.write_bytes(b"")


def truncate_by_one_byte(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def overwrite_the_header(file: Path) -> None:
    file.write_bytes(b"\xff" * 128 + file.read_bytes()[128:])


DAMAGES = [Path.unlink, empty, truncate_by_one_byte, overwrite_the_header]
