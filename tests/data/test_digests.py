"""Digests of files: read once, remembered while size and time of change stay."""

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
    """Other content under a time of change that is `later` nanoseconds after the old."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + later))


def digests(paths: list[Path], folder: Path) -> dict[Path, str]:
    """Of files, by the memory in a folder."""
    found = file_digests([str(path) for path in paths], folder / "cache")
    return {Path(path): digest for path, digest in found.items()}


def test_they_are_sha256_of_the_content(files: list[Path], tmp_path: Path) -> None:
    assert digests(files, tmp_path) == {path: sha256(path.name.encode() * 10) for path in files}


def test_no_file_has_no_digest(tmp_path: Path) -> None:
    assert digests([], tmp_path) == {}


def test_asking_again_reads_no_content(files: list[Path], tmp_path: Path) -> None:
    before = digests(files, tmp_path)
    for path in files:
        rewrite(path, b"x" * 10)  # which only reading would show
    assert digests(files, tmp_path) == before


def test_a_file_of_another_time_is_read_again(files: list[Path], tmp_path: Path) -> None:
    before = digests(files, tmp_path)
    rewrite(files[1], b"x" * 10, later=1000)
    assert digests(files, tmp_path) == {**before, files[1]: sha256(b"x" * 10)}


def test_a_file_of_another_size_is_read_again(files: list[Path], tmp_path: Path) -> None:
    before = digests(files, tmp_path)
    rewrite(files[1], b"x" * 11)
    assert digests(files, tmp_path) == {**before, files[1]: sha256(b"x" * 11)}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"FILE": 3}', '{"FILE": [10]}', '{"FILE": null}'])
def test_a_damaged_memory_is_forgotten(content: str, files: list[Path], tmp_path: Path) -> None:
    before = digests(files, tmp_path)
    (memory,) = (tmp_path / "cache").rglob("*.json")
    memory.write_text(content.replace("FILE", str(files[0])))
    assert digests(files, tmp_path) == before


def test_a_memory_of_half_entries_is_forgotten(files: list[Path], tmp_path: Path) -> None:
    before = digests(files, tmp_path)
    (memory,) = (tmp_path / "cache").rglob("*.json")
    memory.write_text(json.dumps({path: entry[:2] for path, entry in json.loads(memory.read_text()).items()}))
    assert digests(files, tmp_path) == before


def test_a_cache_that_cannot_be_written_is_done_without(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert digests(files, tmp_path)[files[0]] == sha256(b"a" * 10)
    assert "runtime.cache" in caplog.text


def test_a_file_that_cannot_be_read_is_tried_again(files: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "not yet there")
    assert digests([*files, link], tmp_path)[link] == f"unreadable:{link}"
    (tmp_path / "not yet there").write_bytes(b"there")
    assert digests([*files, link], tmp_path)[link] == sha256(b"there")


def test_what_cannot_be_opened_is_not_remembered(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()  # has a size and a time, as a file without permission has
    assert digests([*files, tmp_path / "folder"], tmp_path)[tmp_path / "folder"].startswith("unreadable")
    (memory,) = (tmp_path / "cache").rglob("*.json")
    assert str(files[0]) in memory.read_text()
    assert "unreadable" not in memory.read_text()


def test_a_name_of_another_encoding_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"fissur\xe9.jpg")
    try:
        path.write_bytes(b"content")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    for _ in range(2):
        assert digests([path], tmp_path) == {path: sha256(b"content")}


def test_of_a_folder_with_one_file_more_that_one_is_read(files: list[Path], tmp_path: Path) -> None:
    before = digests(files, tmp_path)
    for path in files:
        rewrite(path, b"x" * 10)  # which only reading would show
    more = tmp_path / "files" / "d"
    more.write_bytes(b"more")
    assert digests([*files, more], tmp_path) == {**before, more: sha256(b"more")}
    more.unlink()
    assert digests(files, tmp_path) == before
    (memory,) = (tmp_path / "cache").rglob("*.json")
    rewrite(files[0], b"y" * 10, later=1000)
    digests(files[:1] + files[2:], tmp_path)
    assert str(more) not in memory.read_text() and str(files[1]) in memory.read_text(), "what is gone is forgotten"


def test_what_was_read_before_an_interruption_is_remembered(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> str:
        if path == files[2]:
            raise KeyboardInterrupt
        return sha256(path.read_bytes())

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("crackdet.data.digests.file_digest", interrupted)
        digests(files, tmp_path)
    (memory,) = (tmp_path / "cache").rglob("*.json")
    assert [str(path) in memory.read_text() for path in files] == [True, True, False]
    assert digests(files, tmp_path) == {path: sha256(path.name.encode() * 10) for path in files}
