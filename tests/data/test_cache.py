"""Decoded photographs: the same pixels from the cache as from the files, built once, rebuilt when damaged."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crackdet.config.schema import FolderData, Runtime
from crackdet.core.errors import UserError
from crackdet.data import cache
from crackdet.data.cache import WORTH_WORKERS, DecodedImages, decode_all
from crackdet.data.dataset import load_splits
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from tests.data.pictures import fill, save
from tests.processes import children, running, until

SIZE = 6


@dataclass(frozen=True)
class Counted:
    """A source that writes down what is read of it, in a file that other processes see too."""

    log: Path
    seconds: float = 0  # to read one
    bad: tuple[str, ...] = ()

    def photographs(self) -> list[ImageRecord]:
        return [ImageRecord(f"{number}.png", number % 2 == 0, f"{number:04d}") for number in range(8)]

    def read(self, photograph: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        with self.log.open("a") as file:
            file.write(f"{photograph.digest} {os.getpid()}\n")
        time.sleep(self.seconds)
        if photograph.digest in self.bad:
            raise BadImage("truncated")
        return pixels_of(photograph.digest, image_size)

    def readings(self) -> list[str]:
        return [line.split()[0] for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def processes(self) -> set[str]:
        return {line.split()[1] for line in self.log.read_text().splitlines()}


def pixels_of(digest: str, image_size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(int(digest)).integers(0, 256, (image_size, image_size, 3), dtype=np.uint8)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(cache=str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "readings")


Decode = Callable[..., DecodedImages]


@pytest.fixture
def decoded(source: Counted, runtime: Runtime) -> Decode:
    def decode(changed: Counted = source, **settings: object) -> DecodedImages:
        return decode_all(changed, changed.photographs(), SIZE, replace(runtime, **settings))  # type: ignore[arg-type]

    return decode


def assert_right(decoded: DecodedImages) -> None:
    for photograph in decoded.source.photographs():
        assert np.array_equal(decoded.read(photograph), pixels_of(photograph.digest, SIZE))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fill(tmp_path / "data", {"crack": 8, "noncrack": 8})


def folder(root: Path, **settings: object) -> FolderData:
    return replace(FolderData(root=str(root), image_size=SIZE), **settings)  # type: ignore[arg-type]


# --- pixels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_the_pixels_are_those_of_the_source(cache_gib: float, decoded: Decode) -> None:
    assert_right(decoded(cache_gib=cache_gib))


def test_the_cache_is_read_instead_of_the_files(decoded: Decode, source: Counted) -> None:
    decoded()
    assert len(source.readings()) == 8
    assert_right(decoded())
    assert len(source.readings()) == 8


def test_what_does_not_fit_is_streamed_and_checked_once(decoded: Decode, source: Counted, runtime: Runtime) -> None:
    assert decoded(cache_gib=1e-9).file is None
    assert decoded(cache_gib=1e-9).file is None
    assert len(source.readings()) == 8
    assert not list(Path(runtime.cache).rglob("*.npy"))


def test_another_size_and_other_photographs_are_another_cache(source: Counted, runtime: Runtime) -> None:
    photographs = source.photographs()
    files = {
        decode_all(source, photographs, SIZE, runtime).file,
        decode_all(source, photographs, SIZE + 1, runtime).file,
        decode_all(source, photographs[1:], SIZE, runtime).file,
    }
    assert len(files) == 3


def test_names_and_order_do_not_matter_to_the_cache(source: Counted, runtime: Runtime, decoded: Decode) -> None:
    moved = [photograph._replace(name=f"moved/{photograph.name}") for photograph in reversed(source.photographs())]
    assert decode_all(source, moved, SIZE, runtime).file == decoded().file


def test_copies_are_decoded_once(source: Counted, runtime: Runtime) -> None:
    copies = [*source.photographs(), *(p._replace(name=f"copy/{p.name}") for p in source.photographs())]
    assert decode_all(source, copies, SIZE, runtime).array.shape == (8, SIZE, SIZE, 3)
    assert len(source.readings()) == 8


def test_worker_processes_decode_the_same(tmp_path: Path) -> None:
    source = Counted(tmp_path / "readings", bad=("0007", "0300"))
    photographs = [ImageRecord(f"{number}", True, f"{number:04d}") for number in range(WORTH_WORKERS + 10)]
    alone, together = (
        decode_all(source, photographs, 2, Runtime(cache=str(tmp_path / f"cache{workers}"), num_workers=workers))
        for workers in (0, 2)
    )
    for photograph in photographs:
        if photograph.digest not in source.bad:
            assert np.array_equal(alone.read(photograph), pixels_of(photograph.digest, 2))
    assert np.array_equal(alone.array, together.array)
    assert alone.bad == together.bad == {"0007": "truncated", "0300": "truncated"}
    assert len(source.processes()) > 1


def build(source: Counted, runtime: Runtime, barrier: Barrier) -> None:
    barrier.wait()
    assert_right(decode_all(source, source.photographs(), SIZE, runtime))


def test_two_processes_build_the_cache_once(tmp_path: Path, runtime: Runtime) -> None:
    source = Counted(tmp_path / "readings", seconds=0.05)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=build, args=(source, runtime, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(source.readings()) == [photograph.digest for photograph in source.photographs()]


# --- damage -------------------------------------------------------------------------------------------


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut_by_one_byte(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def overwrite_the_header(file: Path) -> None:
    file.write_bytes(b"\xff" * 128 + file.read_bytes()[128:])


def swap_for_another_shape(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.zeros((9, SIZE, SIZE, 3), dtype=np.uint8))


@pytest.mark.parametrize("damage", [Path.unlink, empty, cut_by_one_byte, overwrite_the_header, swap_for_another_shape])
def test_a_damaged_array_is_built_again(damage: Callable[[Path], None], decoded: Decode) -> None:
    file = decoded().file
    assert file is not None
    damage(file)
    assert_right(decoded())


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"bad": 3}', '{"bad": {"9999": "gone"}}'])
def test_damaged_notes_are_written_again(content: str, source: Counted, decoded: Decode, runtime: Runtime) -> None:
    bad = replace(source, bad=("0003",))
    decoded(bad)
    (notes,) = (Path(runtime.cache) / "pixels").glob("*.json")
    notes.write_text(content)
    assert decoded(bad).bad == {"0003": "truncated"}
    assert "0003" in notes.read_text()


def half_way(tmp_path: Path, decoded: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding that was interrupted after four images of eight, and in the sixth."""

    class Interrupted(Counted):
        def read(self, photograph: ImageRecord, image_size: int) -> NDArray[np.uint8]:
            if photograph.digest == "0005":
                raise KeyboardInterrupt
            return super().read(photograph, image_size)

    monkeypatch.setattr(cache, "CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        decoded(Interrupted(tmp_path / "interrupted"))


def test_an_interrupted_build_goes_on_where_it_stopped(
    tmp_path: Path, decoded: Decode, source: Counted, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_way(tmp_path, decoded, monkeypatch)
    assert not list((Path(runtime.cache) / "pixels").glob("[!.]*.npy"))
    assert_right(decoded())
    assert source.readings() == ["0004", "0005", "0006", "0007"]
    assert not list((Path(runtime.cache) / "pixels").glob(".*"))


@pytest.mark.parametrize("damage", [Path.unlink, empty, cut_by_one_byte, overwrite_the_header])
@pytest.mark.parametrize("ending", ["tmp", "rows"])
def test_what_an_interrupted_build_left_is_not_believed_where_it_is_damaged(
    damage: Callable[[Path], None],
    ending: str,
    tmp_path: Path,
    decoded: Decode,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half_way(tmp_path, decoded, monkeypatch)
    (left,) = (Path(runtime.cache) / "pixels").glob(f".*.{ending}")
    damage(left)
    assert_right(decoded())


def test_what_another_set_holds_is_not_decoded_again(source: Counted, decoded: Decode, runtime: Runtime) -> None:
    photographs = source.photographs()
    some = replace(source, bad=("0002",))
    for part in (photographs[:3], photographs[2:5], photographs[6:7]):
        decode_all(some, part, SIZE, runtime)
    before = len(source.readings())
    assert_right(decoded())
    # what could not be read is tried again
    assert sorted(source.readings()[before:]) == ["0002", "0005", "0007"]
    decode_all(source, photographs, SIZE + 1, runtime)
    assert len(source.readings()) == before + 3 + 8, "another size is decoded anew"


@pytest.mark.parametrize("damage", [Path.unlink, empty, cut_by_one_byte, overwrite_the_header])
@pytest.mark.parametrize("ending", ["npy", "rows"])
def test_another_set_that_is_damaged_is_not_believed(
    damage: Callable[[Path], None], ending: str, source: Counted, decoded: Decode, runtime: Runtime
) -> None:
    decode_all(source, source.photographs()[:5], SIZE, runtime)
    (held,) = (Path(runtime.cache) / "pixels").glob(f"*.{ending}")
    damage(held)
    assert_right(decoded())


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at the processes of Linux")
def test_processes_that_decode_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "crackdet", "data", "data.num_images=20000", "data.image_size=64",
            f"runtime.cache={tmp_path}", "runtime.num_workers=2"]  # fmt: skip
    command = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(children(command.pid)) >= 3 or command.poll() is not None)  # two, and Python's own
    started = children(command.pid)
    assert command.poll() is None
    command.kill()
    command.wait()
    until(lambda: not started & running().keys())


def test_a_cache_folder_that_cannot_be_made_is_refused(decoded: Decode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"runtime\.cache=.*cannot be written there.*runtime\.cache_gib=0"):
        decoded(cache=str(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_folder_is_refused(decoded: Decode, runtime: Runtime) -> None:
    pixels = Path(runtime.cache) / "pixels"
    pixels.mkdir(parents=True)
    pixels.chmod(0o555)
    try:
        with pytest.raises(UserError, match=r"runtime\.cache=.*cannot be written there"):
            decoded()
    finally:
        pixels.chmod(0o755)


def test_a_cache_that_is_complete_need_not_be_writable(decoded: Decode, runtime: Runtime) -> None:
    decoded()
    pixels = Path(runtime.cache) / "pixels"
    for lock in pixels.glob("*.lock"):
        lock.unlink()
    for notes in list(pixels.glob("*.json")):
        notes.with_suffix(".lock").mkdir()  # for root, too, a lock that cannot be had
    pixels.chmod(0o555)
    try:
        assert_right(decoded())
    finally:
        pixels.chmod(0o755)


def test_streaming_does_without_a_cache_folder(source: Counted, decoded: Decode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    streamed = decoded(replace(source, bad=("0003",)), cache=str(tmp_path / "file"), cache_gib=0)
    assert streamed.bad == {"0003": "truncated"}
    assert_right(replace(streamed, source=source))


def test_a_full_disk_is_noticed_before_anything_is_decoded(source: Counted, runtime: Runtime) -> None:
    with pytest.raises(UserError, match=r"No space left on device.*MiB are needed"):
        decode_all(source, source.photographs(), 10**6, replace(runtime, cache_gib=1e9))
    assert source.readings() == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_the_room_on_the_disk_is_taken_before_anything_is_decoded(
    source: Counted, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def look(self: Counted, photograph: ImageRecord, image_size: int) -> NDArray[np.uint8]:
        (array,) = Path(runtime.cache).glob("pixels/.*.npy.tmp")
        taken.append(array.stat().st_blocks * 512 >= array.stat().st_size)
        return pixels_of(photograph.digest, image_size)

    monkeypatch.setattr(Counted, "read", look)
    decode_all(source, source.photographs(), 200, runtime)
    assert taken == [True] * 8


# --- images that cannot be read -----------------------------------------------------------------------


def test_all_unreadable_images_are_named_in_one_message(root: Path, runtime: Runtime) -> None:
    truncated = root / "crack" / "001.png"
    truncated.write_bytes(truncated.read_bytes()[:60])
    (root / "crack" / "002.png").write_bytes(b"")
    (root / "noncrack" / "003.png").write_bytes(b"")  # a copy of the other empty file
    (root / "noncrack" / "lost.png").symlink_to(root / "nowhere.png")
    with pytest.raises(UserError, match=r"4 of 17 images of .* cannot be read.*data\.on_bad_image=skip") as refused:
        load_splits(folder(root), runtime)
    for name in ("crack/001.png", "crack/002.png", "noncrack/003.png", "noncrack/lost.png: No such file"):
        assert name in str(refused.value)


@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_unreadable_images_can_be_left_out(
    cache_gib: float, root: Path, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "crack" / "001.png").write_bytes(b"")
    (root / "noncrack" / "003.png").write_bytes(b"")
    for _ in range(2):  # built, then remembered
        splits = load_splits(folder(root, on_bad_image="skip"), replace(runtime, cache_gib=cache_gib))
        left = {photograph.name for images in splits.values() for photograph in images.photographs}
        assert len(left) == 14
        assert not left & {"crack/001.png", "noncrack/003.png"}
        assert caplog.text.count(f"2 of 16 images of {root} cannot be read and are left out") == 1
        assert caplog.text.count("crack/001.png") == 1 and "noncrack/003.png" in caplog.text


def test_of_very_many_unreadable_images_some_are_named(root: Path, runtime: Runtime) -> None:
    for number in range(30):
        (root / "crack" / f"broken{number:02d}.png").write_bytes(b"%d" % number)
    with pytest.raises(UserError, match=r"(?s)30 of 46 .*broken19.png.*\n  and 10 more: crackdet data .*") as refused:
        load_splits(folder(root), runtime)
    assert "broken20" not in str(refused.value)
    with pytest.raises(UserError, match=r"broken29\.png"):
        load_splits(folder(root), runtime, most_named=None)


def test_a_moved_unreadable_image_is_named_by_its_new_place(root: Path, runtime: Runtime) -> None:
    (root / "crack" / "001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"crack/001\.png"):
        load_splits(folder(root), runtime)
    (root / "crack" / "001.png").rename(root / "crack" / "moved.png")
    with pytest.raises(UserError, match=r"crack/moved\.png"):
        load_splits(folder(root), runtime)


def test_an_image_that_was_out_of_reach_is_read_when_it_is_back(decoded: Decode, source: Counted) -> None:
    away = replace(source, bad=("0003",))
    assert decoded(away).bad.keys() == {"0003"}
    back = decoded(source)
    assert back.bad == {}
    assert_right(back)


@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_an_image_that_changes_after_it_was_listed_is_not_taken_for_what_it_was(
    cache_gib: float, root: Path, runtime: Runtime
) -> None:
    source = open_source(folder(root), Path(runtime.cache))
    photographs = source.photographs()
    save(root / "crack" / "001.png", 77)
    decoded = decode_all(source, photographs, SIZE, replace(runtime, cache_gib=cache_gib))
    (changed,) = [photograph for photograph in photographs if photograph.name == "crack/001.png"]
    assert decoded.bad == {changed.digest: "has been changed since the images were listed; give the same command again"}
    load_splits(folder(root), replace(runtime, cache_gib=cache_gib))


def test_a_mended_image_is_read_again(root: Path, runtime: Runtime) -> None:
    content = (root / "crack" / "001.png").read_bytes()
    (root / "crack" / "001.png").write_bytes(b"")
    with pytest.raises(UserError):
        load_splits(folder(root), runtime)
    (root / "crack" / "001.png").write_bytes(content)
    assert sum(map(len, load_splits(folder(root), runtime).values())) == 16


def test_leaving_out_all_images_of_a_class_is_refused(root: Path, runtime: Runtime) -> None:
    for path in (root / "crack").iterdir():
        path.write_bytes(path.name.encode())
    with pytest.raises(UserError, match="has no image with a crack"):
        load_splits(folder(root, on_bad_image="skip"), runtime)


SCRIPT = """
from crackdet.compose import compose
from crackdet.data import cache, load_splits

cache.WORTH_WORKERS = 2
places = ["data.root={root}", "runtime.cache=cache", "runtime.num_workers=2"]
config = compose(["data=folder", "data.image_size=32", *places])
print(sum(map(len, load_splits(config.data, config.runtime).values())))
"""


def test_a_script_that_is_imported_by_its_own_workers_gets_its_images_all_the_same(
    photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(root=photographs))  # without `if __name__ == "__main__":`
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "16\n"


# --- what could not be read, and can be -----------------------------------------------------------------


def test_what_streaming_could_read_is_not_believed_of_an_array_that_could_not(source: Counted, decoded: Decode) -> None:
    """Unreadable when the array is made, readable when the same photographs are streamed."""
    assert decoded(replace(source, bad=("0003",))).bad == {"0003": "truncated"}
    assert not decoded(cache_gib=1e-9).bad
    again = decoded()
    assert not again.bad
    assert_right(again)


@pytest.mark.parametrize("stopped", ["write_json", "say_rows", "replace"])
def test_a_build_that_is_stopped_at_its_end_leaves_nothing_to_be_mistaken(
    stopped: str, source: Counted, decoded: Decode, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All could be read once; the array is lost, and made again while one cannot be."""

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    file = decoded().file
    assert file is not None
    decoded(cache_gib=1e-9)
    file.unlink()
    places = {"write_json": cache, "say_rows": cache.decoded, "replace": Path}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(places[stopped], stopped, stop)
        decoded(replace(source, bad=("0003",)))
    again = decoded()
    assert not again.bad
    assert_right(again)
    decode_all(source, source.photographs()[:5], SIZE, runtime)
    part = decode_all(source, source.photographs()[2:6], SIZE, runtime)
    for photograph in source.photographs()[2:6]:
        assert np.array_equal(part.read(photograph), pixels_of(photograph.digest, SIZE))


def test_an_array_stays_the_one_that_was_looked_at(source: Counted, decoded: Decode) -> None:
    before = decoded()
    assert before.file is not None
    before.file.unlink()
    assert decoded(replace(source, bad=("0003",))).bad
    assert_right(before)


def test_a_stopped_build_takes_what_another_set_holds_by_now(
    tmp_path: Path, decoded: Decode, source: Counted, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_way(tmp_path, decoded, monkeypatch)
    decode_all(source, source.photographs()[4:7], SIZE, runtime)
    before = len(source.readings())
    assert_right(decoded())
    assert source.readings()[before:] == ["0007"]


def test_a_photograph_that_could_not_be_opened_is_not_known_by_its_place(root: Path, runtime: Runtime) -> None:
    """Its digest says nothing of what is in it; it opens again between listing and decoding."""
    source = open_source(folder(root), Path(runtime.cache))
    hidden, *others = source.photographs()
    listed = hidden._replace(digest=f"unreadable:{root / hidden.name}")
    assert "could not be opened" in decode_all(source, [listed, *others], SIZE, runtime).bad[listed.digest]
