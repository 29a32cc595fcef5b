"""The cache of decoded images: the same pixels as from the files, built once, rebuilt if damaged."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.data.cache import decode_all
from crackdet.data.records import ImageRecord
from tests.data.conftest import DAMAGES, Decode
from tests.data.counting_source import SIZE, CountingSource, assert_pixels_are_correct, pixels_of

# --- pixels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_the_pixels_are_those_of_the_source(cache_gib: float, decode: Decode) -> None:
    assert_pixels_are_correct(decode(cache_gib=cache_gib))


def test_cached_images_are_not_read_again(decode: Decode, source: CountingSource) -> None:
    decode()
    assert len(source.readings()) == 8
    assert_pixels_are_correct(decode())
    assert len(source.readings()) == 8


def test_streamed_images_are_checked_once(decode: Decode, source: CountingSource, runtime: Runtime) -> None:
    assert decode(cache_gib=1e-9).file is None
    assert decode(cache_gib=1e-9).file is None
    assert len(source.readings()) == 8
    assert not list(Path(runtime.cache).rglob("*.npy"))


def test_another_size_or_other_images_give_another_array(source: CountingSource, runtime: Runtime) -> None:
    records = source.list_records()
    files = {
        decode_all(source, records, SIZE, runtime).file,
        decode_all(source, records, SIZE + 1, runtime).file,
        decode_all(source, records[1:], SIZE, runtime).file,
    }
    assert len(files) == 3


def test_names_and_order_of_the_images_do_not_change_the_array(
    source: CountingSource, runtime: Runtime, decode: Decode
) -> None:
    moved = [record._replace(name=f"moved/{record.name}") for record in reversed(source.list_records())]
    assert decode_all(source, moved, SIZE, runtime).file == decode().file


def test_copies_are_decoded_once(source: CountingSource, runtime: Runtime) -> None:
    copies = [*source.list_records(), *(r._replace(name=f"copy/{r.name}") for r in source.list_records())]
    assert decode_all(source, copies, SIZE, runtime).array.shape == (8, SIZE, SIZE, 3)
    assert len(source.readings()) == 8


def test_an_open_array_does_not_change_if_it_is_rebuilt(source: CountingSource, decode: Decode) -> None:
    before = decode()
    assert before.file is not None
    before.file.unlink()
    assert decode(replace(source, unreadable=("0003",))).unreadable
    assert_pixels_are_correct(before)


def build(source: CountingSource, runtime: Runtime, barrier: Barrier) -> None:
    barrier.wait()
    assert_pixels_are_correct(decode_all(source, source.list_records(), SIZE, runtime))


def test_two_processes_build_the_array_once(tmp_path: Path, runtime: Runtime) -> None:
    source = CountingSource(tmp_path / "readings", seconds=0.05)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=build, args=(source, runtime, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(source.readings()) == [record.digest for record in source.list_records()]


SCRIPT = """
from crackdet.compose import compose
from crackdet.data import workers
from crackdet.data.dataset import load_splits

workers.MIN_IMAGES_FOR_WORKERS = 2
places = ["data.root={root}", "runtime.cache=cache", "runtime.num_workers=2"]
config = compose(["data=folder", "data.image_size=32", *places])
print(sum(map(len, load_splits(config.data, config.runtime).values())))
"""


def test_a_script_without_a_main_guard_still_gets_its_images(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(root=photographs))  # its workers import it
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "16\n"
    assert "the worker processes that decode images died" in done.stderr


# --- damage -------------------------------------------------------------------------------------------


def replace_by_another_shape(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.zeros((9, SIZE, SIZE, 3), dtype=np.uint8))


@pytest.mark.parametrize("damage", [*DAMAGES, replace_by_another_shape])
def test_a_damaged_array_is_rebuilt(damage: Callable[[Path], None], decode: Decode) -> None:
    file = decode().file
    assert file is not None
    damage(file)
    assert_pixels_are_correct(decode())


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"bad": 3}', '{"bad": {"9999": "gone"}}'])
def test_a_damaged_sidecar_is_rewritten(content: str, source: CountingSource, decode: Decode, pixels_dir: Path) -> None:
    truncated = replace(source, unreadable=("0003",))
    decode(truncated)
    (sidecar,) = pixels_dir.glob("*.json")
    sidecar.write_text(content)
    assert decode(truncated).unreadable == {"0003": "truncated"}
    assert "0003" in sidecar.read_text()


# --- the folder and the disk --------------------------------------------------------------------------


def test_a_cache_folder_that_cannot_be_created_is_rejected(decode: Decode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"runtime\.cache=.*cannot be written to this folder.*runtime\.cache_gib=0"):
        decode(cache=str(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user other than root")
def test_a_read_only_cache_folder_is_rejected(decode: Decode, pixels_dir: Path) -> None:
    pixels_dir.mkdir(parents=True)
    pixels_dir.chmod(0o555)
    try:
        with pytest.raises(UserError, match=r"runtime\.cache=.*cannot be written to this folder"):
            decode()
    finally:
        pixels_dir.chmod(0o755)


def test_a_complete_cache_is_used_without_write_permission(decode: Decode, pixels_dir: Path) -> None:
    decode()
    for lock in pixels_dir.glob("*.lock"):
        lock.unlink()
    for sidecar in list(pixels_dir.glob("*.json")):
        sidecar.with_suffix(".lock").mkdir()  # a lock that not even root can take
    pixels_dir.chmod(0o555)
    try:
        assert_pixels_are_correct(decode())
    finally:
        pixels_dir.chmod(0o755)


def test_streaming_works_without_a_cache_folder(source: CountingSource, decode: Decode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    streamed = decode(replace(source, unreadable=("0003",)), cache=str(tmp_path / "file"), cache_gib=0)
    assert streamed.unreadable == {"0003": "truncated"}
    assert_pixels_are_correct(replace(streamed, source=source))


def test_a_full_disk_is_reported_before_an_image_is_decoded(source: CountingSource, runtime: Runtime) -> None:
    with pytest.raises(UserError, match=r"No space left on device.*MiB are needed"):
        decode_all(source, source.list_records(), 10**6, replace(runtime, cache_gib=1e9))
    assert source.readings() == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_disk_space_is_reserved_before_an_image_is_decoded(
    source: CountingSource, runtime: Runtime, pixels_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = []

    def read(self: CountingSource, record: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        (array,) = pixels_dir.glob(".*.npy.tmp")
        reserved.append(array.stat().st_blocks * 512 >= array.stat().st_size)
        return pixels_of(record.digest, image_size)

    monkeypatch.setattr(CountingSource, "read", read)
    decode_all(source, source.list_records(), 200, runtime)
    assert reserved == [True] * 8


# --- images that become readable ----------------------------------------------------------------------


def test_an_unreadable_image_is_tried_again(decode: Decode, source: CountingSource) -> None:
    assert decode(replace(source, unreadable=("0003",))).unreadable.keys() == {"0003"}
    again = decode(source)
    assert again.unreadable == {}
    assert_pixels_are_correct(again)


def test_an_image_that_was_readable_when_streamed_is_not_taken_for_cached(
    source: CountingSource, decode: Decode
) -> None:
    """It is unreadable when the array is built, and readable when the same images are streamed."""
    assert decode(replace(source, unreadable=("0003",))).unreadable == {"0003": "truncated"}
    assert not decode(cache_gib=1e-9).unreadable
    again = decode()
    assert not again.unreadable
    assert_pixels_are_correct(again)
