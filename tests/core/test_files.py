"""Files that are written whole or not at all."""

import errno
import os
import re
from pathlib import Path

import pytest

from crackdet.core.errors import WriteFailed
from crackdet.core.files import atomic_write, write_csv, write_error
from crackdet.core.reading import read_csv


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_reported_with_the_space_needed(tmp_path: Path, code: int) -> None:
    message = r"file: cannot be written .*; 3\.0 MiB are needed and [\d.]+ MiB are free"
    with pytest.raises(WriteFailed, match=message), atomic_write(tmp_path / "file", 3 * 2**20) as temporary:
        temporary.touch()
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


def refuse(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (errno.EDQUOT, "Disk quota exceeded.*not within your quota"),
        (errno.EFBIG, "File too large.*ulimit -f"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "Permission denied"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failed_write_names_the_cause_and_the_path(tmp_path: Path, code: int, cause: str) -> None:
    message = f"^{re.escape(str(tmp_path / 'file'))}: cannot be written .*{cause}"
    with pytest.raises(WriteFailed, match=message), atomic_write(tmp_path / "file"):
        raise refuse(code)


def test_a_file_system_without_free_inodes_is_said_to_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.statvfs_result((4096, 4096, 100, 50, 50, 1000, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: status)
    assert "no free inodes" in str(write_error(tmp_path / "file", refuse(errno.ENOSPC)))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_the_cause_that_a_library_hides_is_found(tmp_path: Path) -> None:
    """torch and safetensors raise errors of their own if the system refuses a write."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        message = r"File too large.*ulimit -f"
        with pytest.raises(WriteFailed, match=message), atomic_write(tmp_path / "state", 8192) as temporary:
            temporary.write_bytes(bytes(4096))
            raise RuntimeError("PytorchStreamWriter failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_working_folder_that_is_gone_is_named_as_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(WriteFailed, match="the current folder has been removed"):
        write_csv(Path("runs") / "file.csv", [])


def test_csv_round_trips(tmp_path: Path) -> None:
    rows = [{"image": 'a,"b"\nc.jpg', "logit": 0.1 + 0.2}, {"image": "d", "logit": -1e-300}]
    write_csv(tmp_path / "file.csv", rows)
    read = read_csv(tmp_path / "file.csv")
    assert [(row["image"], float(row["logit"])) for row in read] == [(row["image"], row["logit"]) for row in rows]
