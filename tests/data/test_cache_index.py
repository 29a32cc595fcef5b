"""The index of a cached array: interrupted builds continue, and rows are copied between arrays."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crackdet.config.schema import Runtime
from crackdet.data import cache, cache_index, workers
from crackdet.data.cache import decode_all
from crackdet.data.records import ImageRecord
from tests.data.conftest import DAMAGES, Decode
from tests.data.counting_source import SIZE, CountingSource, assert_pixels_are_correct, pixels_of


@pytest.fixture
def interrupted(tmp_path: Path, decode: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupts a build after four images of eight, in the chunk of the sixth."""

    class Interrupted(CountingSource):
        def read(self, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
            if record.digest == "0005":
                raise KeyboardInterrupt
            return super().read(record, image_size)

    monkeypatch.setattr(workers, "CHUNK_SIZE", 2)
    with pytest.raises(KeyboardInterrupt):
        decode(Interrupted(tmp_path / "interrupted"))


# --- interrupted builds -------------------------------------------------------------------------------


@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_build_continues(decode: Decode, source: CountingSource, pixels_dir: Path) -> None:
    assert not list(pixels_dir.glob("[!.]*.npy"))
    assert_pixels_are_correct(decode())
    assert source.readings() == ["0004", "0005", "0006", "0007"]
    assert not list(pixels_dir.glob(".*"))


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["tmp", "rows"])
def test_an_interrupted_build_with_a_damaged_file_gives_correct_pixels(
    damage: Callable[[Path], None], suffix: str, decode: Decode, pixels_dir: Path
) -> None:
    (file,) = pixels_dir.glob(f".*.{suffix}")
    damage(file)
    assert_pixels_are_correct(decode())


@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_build_copies_rows_that_another_array_holds_by_now(
    decode: Decode, source: CountingSource, runtime: Runtime
) -> None:
    decode_all(source, source.list_records()[4:7], SIZE, runtime)
    before = len(source.readings())
    assert_pixels_are_correct(decode())
    assert source.readings()[before:] == ["0007"]


@pytest.mark.parametrize("step", ["write_json", "write_index", "replace"])
def test_a_build_that_is_interrupted_at_its_end_leaves_no_wrong_index(
    step: str, source: CountingSource, decode: Decode, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All images were readable at first; then the array is lost, and rebuilt while one image is unreadable."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    file = decode().file
    assert file is not None
    decode(cache_gib=1e-9)
    file.unlink()
    owners = {"write_json": cache, "write_index": cache_index, "replace": Path}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owners[step], step, interrupt)
        decode(replace(source, unreadable=("0003",)))
    again = decode()
    assert not again.unreadable
    assert_pixels_are_correct(again)
    decode_all(source, source.list_records()[:5], SIZE, runtime)
    part = decode_all(source, source.list_records()[2:6], SIZE, runtime)
    for record in source.list_records()[2:6]:
        assert np.array_equal(part.read(record), pixels_of(record.digest, SIZE))


# --- rows of other arrays -----------------------------------------------------------------------------


def test_rows_of_other_arrays_are_copied(source: CountingSource, decode: Decode, runtime: Runtime) -> None:
    records = source.list_records()
    with_unreadable = replace(source, unreadable=("0002",))
    for part in (records[:3], records[2:5], records[6:7]):
        decode_all(with_unreadable, part, SIZE, runtime)
    before = len(source.readings())
    assert_pixels_are_correct(decode())
    assert sorted(source.readings()[before:]) == ["0002", "0005", "0007"], "the unreadable image is tried again"
    decode_all(source, records, SIZE + 1, runtime)
    assert len(source.readings()) == before + 3 + 8, "an array of another size has no rows to copy"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["npy", "rows"])
def test_a_damaged_array_or_index_is_not_copied_from(
    damage: Callable[[Path], None],
    suffix: str,
    source: CountingSource,
    decode: Decode,
    runtime: Runtime,
    pixels_dir: Path,
) -> None:
    decode_all(source, source.list_records()[:5], SIZE, runtime)
    (file,) = pixels_dir.glob(f"*.{suffix}")
    damage(file)
    assert_pixels_are_correct(decode())
