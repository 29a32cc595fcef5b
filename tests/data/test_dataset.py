"""`load_splits` with images that cannot be read, or change."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crackdet.config.file_data import FolderData
from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.core.reading import file_digest
from crackdet.data.cache import decode_all
from crackdet.data.dataset import data_fingerprint, load_splits
from crackdet.data.sources.factory import open_source
from tests.data.image_files import make_folders, save_image

SIZE = 6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folders(tmp_path / "data", {"crack": 8, "noncrack": 8})


def folder_data(root: Path, **settings: object) -> FolderData:
    return replace(FolderData(root=str(root), image_size=SIZE), **settings)  # type: ignore[arg-type]


def test_one_message_names_all_unreadable_images(root: Path, runtime: Runtime) -> None:
    truncated = root / "crack" / "001.png"
    truncated.write_bytes(truncated.read_bytes()[:60])
    (root / "crack" / "002.png").write_bytes(b"")
    (root / "noncrack" / "003.png").write_bytes(b"")  # a copy of the other empty file
    (root / "noncrack" / "lost.png").symlink_to(root / "nowhere.png")
    with pytest.raises(UserError, match=r"4 of 17 images of .* cannot be read.*data\.on_bad_image=skip") as error:
        load_splits(folder_data(root), runtime)
    for name in ("crack/001.png", "crack/002.png", "noncrack/003.png", "noncrack/lost.png: No such file"):
        assert name in str(error.value)


@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_unreadable_images_can_be_skipped_with_one_warning(
    cache_gib: float, root: Path, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "crack" / "001.png").write_bytes(b"")
    (root / "noncrack" / "003.png").write_bytes(b"x")
    for _ in range(2):  # built, then cached
        splits = load_splits(folder_data(root, on_bad_image="skip"), replace(runtime, cache_gib=cache_gib))
        names = {record.name for dataset in splits.values() for record in dataset.records}
        assert len(names) == 14
        assert not names & {"crack/001.png", "noncrack/003.png"}
        assert caplog.text.count(f"2 of 16 images of {root} cannot be read and are skipped") == 1
        assert caplog.text.count("  no image of a known format: crack/001.png, noncrack/003.png") == 1


def test_images_that_cannot_be_read_for_one_reason_share_a_line(
    root: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for number in range(3):
        (root / "crack" / f"phone{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(number))
    with pytest.raises(UserError, match=r"3 of 19 .*\n  HEIC .* need pillow-heif.*: crack/phone0.HEIC, ") as error:
        load_splits(folder_data(root), runtime)
    assert str(error.value).count("pillow-heif") == 1


def test_at_most_max_named_unreadable_images_are_named(root: Path, runtime: Runtime) -> None:
    for number in range(30):
        (root / "crack" / f"broken{number:02d}.png").write_bytes(b"%d" % number)
    with pytest.raises(UserError, match=r"(?s)30 of 46 .*broken19.png.*\n  and 10 more: crackdet check-data") as error:
        load_splits(folder_data(root), runtime)
    assert "broken20" not in str(error.value)
    with pytest.raises(UserError, match=r"broken29\.png"):
        load_splits(folder_data(root), runtime, max_named=None)


def test_a_moved_unreadable_image_is_named_by_its_new_path(root: Path, runtime: Runtime) -> None:
    (root / "crack" / "001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"crack/001\.png"):
        load_splits(folder_data(root), runtime)
    (root / "crack" / "001.png").rename(root / "crack" / "moved.png")
    with pytest.raises(UserError, match=r"crack/moved\.png"):
        load_splits(folder_data(root), runtime)


def test_a_repaired_image_is_read_again(root: Path, runtime: Runtime) -> None:
    content = (root / "crack" / "001.png").read_bytes()
    (root / "crack" / "001.png").write_bytes(b"")
    with pytest.raises(UserError):
        load_splits(folder_data(root), runtime)
    (root / "crack" / "001.png").write_bytes(content)
    assert sum(map(len, load_splits(folder_data(root), runtime).values())) == 16


def test_skipping_all_images_of_a_class_is_rejected(root: Path, runtime: Runtime) -> None:
    for path in (root / "crack").iterdir():
        path.write_bytes(path.name.encode())
    with pytest.raises(UserError, match="has no image with a crack"):
        load_splits(folder_data(root, on_bad_image="skip"), runtime)


@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_an_image_that_changes_after_the_listing_is_unreadable(cache_gib: float, root: Path, runtime: Runtime) -> None:
    source = open_source(folder_data(root), Path(runtime.cache))
    records = source.list_records()
    save_image(root / "crack" / "001.png", 77)
    decoded = decode_all(source, records, SIZE, replace(runtime, cache_gib=cache_gib))
    (changed,) = [record for record in records if record.name == "crack/001.png"]
    assert decoded.unreadable == {changed.digest: "has changed since the images were listed; run the command again"}
    load_splits(folder_data(root), replace(runtime, cache_gib=cache_gib))


def test_an_image_that_could_not_be_opened_for_its_digest_is_unreadable(root: Path, runtime: Runtime) -> None:
    """It can be opened again between listing and decoding, but its digest does not identify its content."""
    source = open_source(folder_data(root), Path(runtime.cache))
    first, *others = source.list_records()
    listed = first._replace(digest=f"unreadable:{root / first.name}")
    assert "could not be opened" in decode_all(source, [listed, *others], SIZE, runtime).unreadable[listed.digest]


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("cache_gib", [16.0, 0.0], ids=["cached", "streamed"])
def test_a_wrong_digest_in_the_cache_ends_one_command_only(
    cache_gib: float, on_bad_image: str, root: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a change that left size, times and inode: a failing disk."""
    monkeypatch.setattr("crackdet.data.digests.SETTLE_SECONDS", -1)
    data, runtime = folder_data(root, on_bad_image=on_bad_image), replace(runtime, cache_gib=cache_gib)
    expected = data_fingerprint(data, runtime)
    (index,) = Path(runtime.cache).rglob("digests/*.json")
    right = file_digest(root / "crack" / "001.png")
    index.write_text(index.read_text().replace(right, "0" * 64))
    assert data_fingerprint(data, runtime) != expected
    with pytest.raises(UserError, match=r"1 images have changed since they were listed, such as crack/001\.png"):
        load_splits(data, runtime)
    assert data_fingerprint(data, runtime) == expected
    assert sum(map(len, load_splits(data, runtime, expected).values())) == 16


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_a_named_pipe_is_an_unreadable_image(
    on_bad_image: str, root: Path, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(root / "crack" / "pipe.jpg")
    data = folder_data(root, on_bad_image=on_bad_image)
    if on_bad_image == "error":
        with pytest.raises(UserError, match=r"1 of 17 images .* cannot be read(?s:.*)crack/pipe\.jpg: is not a reg"):
            load_splits(data, runtime)
    else:
        assert sum(map(len, load_splits(data, runtime).values())) == 16
        assert "crack/pipe.jpg" in caplog.text
