"""Files that are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from crackdet.core.errors import WriteFailed
from crackdet.core.files import atomic_write, write_csv
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


def test_csv_round_trips(tmp_path: Path) -> None:
    rows = [{"image": 'a,"b"\nc.jpg', "logit": 0.1 + 0.2}, {"image": "d", "logit": -1e-300}]
    write_csv(tmp_path / "file.csv", rows)
    read = read_csv(tmp_path / "file.csv")
    assert [(row["image"], float(row["logit"])) for row in read] == [(row["image"], row["logit"]) for row in rows]
