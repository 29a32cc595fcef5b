"""Digests of files: a file is read again only if its size or modification time changes."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from crackdet.data.digests import file_digests


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "files").mkdir()
    paths = [tmp_path / "files" / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(path.name.encode() * 10)
    return paths


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def rewrite(path: Path, content: bytes, later: int = 0) -> None:
    """Replace the content, and set the modification time to `later` nanoseconds after the old one."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + later))


def digests_of(paths: list[Path], tmp_path: Path) -> dict[Path, str]:
    found = file_digests([str(path) for path in paths], tmp_path / "cache")
    return {Path(path): digest for path, digest in found.items()}


def test_a_digest_is_the_sha256_of_the_content(files: list[Path], tmp_path: Path) -> None:
    assert digests_of(files, tmp_path) == {path: sha256(path.name.encode() * 10) for path in files}


def test_no_paths_give_no_digests(tmp_path: Path) -> None:
    assert digests_of([], tmp_path) == {}


def test_an_unchanged_file_is_not_read_again(files: list[Path], tmp_path: Path) -> None:
    before = digests_of(files, tmp_path)
    for path in files:
        rewrite(path, b"x" * 10)  # same size and time: only reading shows the change
    assert digests_of(files, tmp_path) == before


def test_a_file_with_another_modification_time_is_read_again(files: list[Path], tmp_path: Path) -> None:
    before = digests_of(files, tmp_path)
    rewrite(files[1], b"x" * 10, later=1000)
    assert digests_of(files, tmp_path) == {**before, files[1]: sha256(b"x" * 10)}


def test_a_file_with_another_size_is_read_again(files: list[Path], tmp_path: Path) -> None:
    before = digests_of(files, tmp_path)
    rewrite(files[1], b"x" * 11)
    assert digests_of(files, tmp_path) == {**before, files[1]: sha256(b"x" * 11)}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"FILE": 3}', '{"FILE": [10]}', '{"FILE": null}'])
def test_a_damaged_cache_file_is_ignored(content: str, files: list[Path], tmp_path: Path) -> None:
    before = digests_of(files, tmp_path)
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    cache_file.write_text(content.replace("FILE", str(files[0])))
    assert digests_of(files, tmp_path) == before


def test_a_cache_file_with_incomplete_entries_is_ignored(files: list[Path], tmp_path: Path) -> None:
    before = digests_of(files, tmp_path)
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    cache_file.write_text(json.dumps({path: entry[:2] for path, entry in json.loads(cache_file.read_text()).items()}))
    assert digests_of(files, tmp_path) == before


def test_without_a_writable_cache_files_are_read_with_a_warning(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert digests_of(files, tmp_path)[files[0]] == sha256(b"a" * 10)
    assert "runtime.cache" in caplog.text


def test_an_unreadable_file_is_tried_again(files: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "not yet there")
    assert digests_of([*files, link], tmp_path)[link] == f"unreadable:{link}"
    (tmp_path / "not yet there").write_bytes(b"there")
    assert digests_of([*files, link], tmp_path)[link] == sha256(b"there")


def test_a_file_that_cannot_be_opened_is_not_cached(files: list[Path], tmp_path: Path) -> None:
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


def test_only_an_added_file_is_read_and_a_deleted_one_is_dropped(files: list[Path], tmp_path: Path) -> None:
    before = digests_of(files, tmp_path)
    for path in files:
        rewrite(path, b"x" * 10)  # same size and time: only reading shows the change
    added = tmp_path / "files" / "d"
    added.write_bytes(b"more")
    assert digests_of([*files, added], tmp_path) == {**before, added: sha256(b"more")}
    added.unlink()
    assert digests_of(files, tmp_path) == before
    (cache_file,) = (tmp_path / "cache").rglob("*.json")
    rewrite(files[0], b"y" * 10, later=1000)
    digests_of(files[:1] + files[2:], tmp_path)
    assert str(added) not in cache_file.read_text() and str(files[1]) in cache_file.read_text(), (
        "only the entry of the deleted file is dropped"
    )


def test_digests_read_before_an_interrupt_are_cached(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
