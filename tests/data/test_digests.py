"""Digests of files: a file is read again only if its size, times or inode change."""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.core.reading import file_digest
from crackdet.data import digests as digests_module
from crackdet.data.digests import file_digests


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that have been read. A file counts as settled as soon as it is written."""
    names: list[str] = []

    def logged(path: Path) -> str:
        names.append(path.name)
        return file_digest(path)

    monkeypatch.setattr(digests_module, "file_digest", logged)
    monkeypatch.setattr(digests_module, "SETTLE_SECONDS", -1)
    return names


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "files").mkdir()
    paths = [tmp_path / "files" / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(path.name.encode() * 10)
    return paths


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digests_of(paths: list[Path], tmp_path: Path) -> dict[Path, str]:
    found = file_digests([str(path) for path in paths], tmp_path, tmp_path / "cache")
    return {Path(path): digest for path, digest in found.items()}


def test_a_digest_is_the_sha256_of_the_content(files: list[Path], tmp_path: Path) -> None:
    assert digests_of(files, tmp_path) == {path: sha256(path.name.encode() * 10) for path in files}


def test_no_paths_give_no_digests(tmp_path: Path) -> None:
    assert digests_of([], tmp_path) == {}


def test_an_unchanged_file_is_not_read_again(files: list[Path], tmp_path: Path, readings: list[str]) -> None:
    before = digests_of(files, tmp_path)
    assert sorted(readings) == ["a", "b", "c"]
    assert digests_of(files, tmp_path) == before
    assert len(readings) == 3


def rewrite(path: Path) -> None:
    path.write_bytes(b"x" * 10)


def rewrite_and_restore_the_time(path: Path) -> None:
    status = path.stat()
    rewrite(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def exchange_by_renaming(path: Path) -> None:
    other = path.with_name("b")
    path.rename(path.with_name("temporary"))
    other.rename(path)
    path.with_name("temporary").rename(other)


def replace_by_a_copy_that_keeps_the_time(path: Path) -> None:
    shutil.copy2(path.with_name("b"), path)


def replace_by_a_synchronised_file(path: Path) -> None:
    shutil.copy2(path.with_name("b"), path.with_name(".a.1234"))  # as rsync does
    path.with_name(".a.1234").replace(path)


def replace_by_a_hard_link(path: Path) -> None:
    path.unlink()
    path.hardlink_to(path.with_name("b"))


def exchange_the_folders(path: Path) -> None:
    folder = path.parent
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    shutil.copy2(other / "b", other / "a")
    folder.rename(folder.with_name("old"))
    other.rename(folder)


def retarget_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("b"))


@pytest.mark.parametrize(
    "change",
    [
        rewrite, rewrite_and_restore_the_time, exchange_by_renaming, replace_by_a_copy_that_keeps_the_time,
        replace_by_a_synchronised_file, replace_by_a_hard_link, exchange_the_folders, retarget_a_link,
    ],
)  # fmt: skip
def test_a_changed_file_of_the_same_size_and_time_is_read_again(
    change: Callable[[Path], None], files: list[Path], tmp_path: Path, readings: list[str]
) -> None:
    for path in files:
        os.utime(path, (1.5e9, 1.5e9))  # as an archive is unpacked
    digests_of(files, tmp_path)
    change(files[0])
    assert digests_of(files, tmp_path) == {path: sha256(path.read_bytes()) for path in files}
    assert files[0].read_bytes() != b"a" * 10


def test_a_file_that_was_written_just_now_is_read_again(files: list[Path], tmp_path: Path) -> None:
    """It may change again within the granularity of its times, so its digest is not cached."""
    digests_of(files, tmp_path)
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_modification_time_in_the_future_does_not_keep_a_file_from_being_cached(
    files: list[Path], tmp_path: Path, readings: list[str]
) -> None:
    for path in files:
        os.utime(path, (4e9, 4e9))  # a camera with a wrong clock
    for _ in range(2):
        digests_of(files, tmp_path)
    assert len(readings) == 3


def test_a_digest_that_is_known_to_be_wrong_is_replaced(files: list[Path], tmp_path: Path, readings: list[str]) -> None:
    before = digests_of(files, tmp_path)
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    cache_file.write_text(cache_file.read_text().replace(before[files[0]], sha256(b"wrong")))  # as after bit rot
    assert digests_of(files, tmp_path)[files[0]] == sha256(b"wrong")
    file_digests([str(files[0])], tmp_path, tmp_path / "cache", reread=True)
    assert readings[3:] == ["a"]
    assert digests_of(files, tmp_path) == before


def test_an_index_of_an_earlier_version_is_ignored(files: list[Path], tmp_path: Path, readings: list[str]) -> None:
    expected = digests_of(files, tmp_path)
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    old = {str(path): [path.stat().st_size, path.stat().st_mtime_ns, sha256(b"old")] for path in files}
    cache_file.write_text(json.dumps(old))
    assert digests_of(files, tmp_path) == expected


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path.relative_to(Path.cwd())))  # the path of a socket has at most 107 bytes


@pytest.mark.parametrize(
    "make",
    [
        make_pipe, make_socket, Path.mkdir,
        lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path.name),
    ],
    ids=["pipe", "socket", "folder", "device", "loop"],
)  # fmt: skip
def test_what_is_no_file_is_unreadable(
    make: Callable[[Path], None], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "files" / "odd"
    make(odd)
    assert digests_of([*files, odd], tmp_path)[odd] == f"unreadable:{odd}"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"FILE": 3}', '{"FILE": [10]}', '{"FILE": null}'])
def test_a_damaged_cache_file_is_ignored(content: str, files: list[Path], tmp_path: Path, readings: list[str]) -> None:
    before = digests_of(files, tmp_path)
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    cache_file.write_text(content.replace("FILE", str(files[0])))
    assert digests_of(files, tmp_path) == before


def test_a_cache_file_with_incomplete_entries_is_ignored(
    files: list[Path], tmp_path: Path, readings: list[str]
) -> None:
    before = digests_of(files, tmp_path)
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    cache_file.write_text(json.dumps({path: entry[:4] for path, entry in json.loads(cache_file.read_text()).items()}))
    assert digests_of(files, tmp_path) == before


def test_without_a_writable_cache_files_are_read_once_per_process_with_a_warning(
    files: list[Path], tmp_path: Path, readings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    for _ in range(2):
        assert digests_of(files, tmp_path)[files[0]] == sha256(b"a" * 10)
    assert len(readings) == 3
    assert caplog.text.count("runtime.cache") == 1


def test_an_unreadable_file_is_tried_again(files: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "not yet there")
    assert digests_of([*files, link], tmp_path)[link] == f"unreadable:{link}"
    (tmp_path / "not yet there").write_bytes(b"there")
    assert digests_of([*files, link], tmp_path)[link] == sha256(b"there")


def test_a_file_that_cannot_be_opened_is_not_cached(files: list[Path], tmp_path: Path, readings: list[str]) -> None:
    (tmp_path / "folder").mkdir()  # has a size and a time, like a file without read permission
    assert digests_of([*files, tmp_path / "folder"], tmp_path)[tmp_path / "folder"].startswith("unreadable")
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    assert str(files[0]) in cache_file.read_text()
    assert "unreadable" not in cache_file.read_text()


def test_a_file_name_in_another_encoding_has_a_digest(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"fissur\xe9.jpg")
    try:
        path.write_bytes(b"content")
    except OSError:
        pytest.skip("needs a file system with any bytes in names")
    for _ in range(2):
        assert digests_of([path], tmp_path) == {path: sha256(b"content")}


def test_only_an_added_file_is_read_and_a_deleted_one_is_dropped(
    files: list[Path], tmp_path: Path, readings: list[str]
) -> None:
    before = digests_of(files, tmp_path)
    added = tmp_path / "files" / "d"
    added.write_bytes(b"more")
    assert digests_of([*files, added], tmp_path) == {**before, added: sha256(b"more")}
    assert readings[3:] == ["d"]
    added.unlink()
    assert digests_of(files, tmp_path) == before
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    rewrite(files[0])
    digests_of(files[:1] + files[2:], tmp_path)
    assert str(added) not in cache_file.read_text() and str(files[1]) in cache_file.read_text(), (
        "only the entry of the deleted file is dropped"
    )


def test_digests_read_before_an_interrupt_are_cached(
    files: list[Path], tmp_path: Path, readings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> str:
        if path == files[2]:
            raise KeyboardInterrupt
        return sha256(path.read_bytes())

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("crackdet.data.digests.file_digest", interrupted)
        digests_of(files, tmp_path)
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    assert [str(path) in cache_file.read_text() for path in files] == [True, True, False]
    assert digests_of(files, tmp_path) == {path: sha256(path.name.encode() * 10) for path in files}
