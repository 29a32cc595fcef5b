"""The cache of features: built once, continued, never taken if damaged, listed and deleted."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from crackdet.cli.main import app
from crackdet.data.feature_cache import COSTS, FeatureFile

DIGESTS = [f"{number:02d}" for number in range(10)]
VALUES = np.arange(30, dtype=np.float32).reshape(10, 3)


class Filler:
    """Writes the expected values row by row; counts the rows, and fails after some of them if it is told to."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.written: list[int] = []
        self.fail_after = fail_after

    def __call__(self, array: NDArray[Any], start: int) -> Iterator[int]:
        for row in range(start, len(array)):
            if len(self.written) == self.fail_after:
                raise KeyboardInterrupt
            array[row] = VALUES[row]
            self.written.append(row)
            yield row + 1


def costs() -> dict[str, float]:
    return dict.fromkeys(COSTS, 1.5)


def file_of(cache: Path, **key: object) -> FeatureFile:
    return FeatureFile(cache, key, [*reversed(DIGESTS), DIGESTS[0]])


def build(cache: Path, filler: Filler | None = None) -> NDArray[Any]:
    return file_of(cache).build(3, np.float32, filler or Filler(), costs).array


def test_a_row_belongs_to_a_digest_in_sorted_order(tmp_path: Path) -> None:
    assert np.array_equal(build(tmp_path), VALUES)
    assert list(file_of(tmp_path).rows) == DIGESTS


def test_an_array_is_built_once(tmp_path: Path) -> None:
    assert file_of(tmp_path).open() is None
    build(tmp_path)
    again = Filler()
    build(tmp_path, again)
    assert again.written == []
    opened = file_of(tmp_path).open()
    assert opened is not None and np.array_equal(opened.array, VALUES) and opened.costs == costs()


def test_another_key_has_another_array(tmp_path: Path) -> None:
    build(tmp_path)
    assert file_of(tmp_path, view=1).open() is None
    assert FeatureFile(tmp_path, {}, DIGESTS[1:]).open() is None


def test_an_interrupted_build_is_continued(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Filler(fail_after=4))
    rest = Filler()
    assert np.array_equal(build(tmp_path, rest), VALUES)
    assert rest.written == list(range(4, 10))
    assert sorted(file.suffix for file in (tmp_path / "features").iterdir()) == [".json", ".lock", ".npy"]


@pytest.mark.parametrize("note", ["", "{}", '{"done": "x"}', '{"done": -3}', '{"done": 99999999}'])
def test_a_damaged_note_of_the_rows_that_are_done_costs_no_correctness(tmp_path: Path, note: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Filler(fail_after=4))
    (progress,) = (tmp_path / "features").glob(".*.npy.json")
    progress.write_text(note)
    assert np.array_equal(build(tmp_path), VALUES)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY nonsense", None])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_file_is_rebuilt(tmp_path: Path, suffix: str, damage: bytes | None) -> None:
    build(tmp_path)
    (file,) = (tmp_path / "features").glob(f"*{suffix}")
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert file_of(tmp_path).open() is None
    assert np.array_equal(build(tmp_path), VALUES)


def test_an_array_of_other_numbers_is_rebuilt(tmp_path: Path) -> None:
    build(tmp_path)
    (file,) = (tmp_path / "features").glob("*.npy")
    for other in (VALUES.astype(np.float64), VALUES[:5], VALUES[0]):
        np.save(file, other)
        assert file_of(tmp_path).open() is None


def test_threads_that_need_the_same_array_build_it_once(tmp_path: Path) -> None:
    fillers = [Filler() for _ in range(4)]
    threads = [threading.Thread(target=build, args=(tmp_path, filler)) for filler in fillers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(filler.written) for filler in fillers) == [0, 0, 0, 10]


def test_features_are_listed_and_deleted_with_the_images(tmp_path: Path) -> None:
    build(tmp_path)
    listed = CliRunner().invoke(app, ["cache", str(tmp_path)])
    assert "3 features" in listed.output and "10" in listed.output
    deleted = CliRunner().invoke(app, ["cache", str(tmp_path), "--unused", "1", "--yes"])
    assert "deleted 0 of 0" in deleted.output  # used just now
    for file in (tmp_path / "features").iterdir():
        os.utime(file, (0, 0))
    deleted = CliRunner().invoke(app, ["cache", str(tmp_path), "--unused", "1", "--yes"])
    assert "deleted 1 of 1" in deleted.output
    assert file_of(tmp_path).open() is None
