"""A cache that two users share: files of the other user are used if they can be read, and never end a command."""

import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.data import digests
from crackdet.data.cache import DecodedImages, decode_all
from crackdet.data.cache_gc import delete_cached_sets, list_cached_sets
from crackdet.data.digests import file_digests
from tests.data.counting_source import SIZE, CountingSource, assert_pixels_are_correct

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
NOBODY = 65534


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may write to, as /tmp; pytest's own folders are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="crackdet-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def as_another_user(function: Callable[[], object]) -> None:
    """Call a function in a process of another user. Only root can become one; else the files are closed to all."""
    if (child := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def close_files(folder: Path) -> None:
    """Let nobody read or write the files, and everybody create new ones."""
    for path in folder.rglob("*"):
        path.chmod(0o1777 if path.is_dir() else 0o000)


def decode(shared: Path) -> tuple[CountingSource, DecodedImages]:
    source = CountingSource(shared / f"readings-{os.getpid()}")
    return source, decode_all(source, source.list_records(), SIZE, Runtime(cache=str(shared / "cache")))


def test_files_of_another_user_that_cannot_be_used_are_decoded_again(shared: Path) -> None:
    decode(shared)
    close_files(shared / "cache")

    def check() -> None:
        for _ in range(2):
            source, decoded = decode(shared)
            assert_pixels_are_correct(decoded)
        assert len(source.readings()) == 8, "decoded once"

    as_another_user(check)


def test_an_unfinished_array_of_another_user_is_left_alone(shared: Path) -> None:
    _, decoded = decode(shared)
    assert decoded.file is not None
    decoded.file.rename(decoded.file.with_name(f".{decoded.file.name}.tmp"))
    close_files(shared / "cache")
    as_another_user(lambda: assert_pixels_are_correct(decode(shared)[1]))
    assert decoded.file.with_name(f".{decoded.file.name}.tmp").exists()


def test_readable_files_of_another_user_are_used(shared: Path) -> None:
    decode(shared)
    for path in (shared / "cache").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def check() -> None:
        source, decoded = decode(shared)
        assert_pixels_are_correct(decoded)
        assert not source.readings()

    as_another_user(check)


def test_a_folder_of_another_user_gives_one_message(shared: Path) -> None:
    (shared / "cache" / "pixels").mkdir(parents=True)
    (shared / "cache" / "pixels").chmod(0o555)

    def check() -> None:
        with pytest.raises(UserError, match=r"runtime\.cache=\S+: .*Permission denied.*give another folder") as error:
            decode(shared)
        assert "Errno" not in str(error.value)

    as_another_user(check)


def test_digests_are_kept_beside_those_of_another_user(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLE_SECONDS", -1)
    (shared / "a").write_bytes(b"a")
    expected = file_digests([str(shared / "a")], shared, shared / "cache")
    close_files(shared / "cache")

    def check() -> None:
        assert file_digests([str(shared / "a")], shared, shared / "cache") == expected
        monkeypatch.setattr(digests, "file_digest", None)  # another reading would fail
        assert file_digests([str(shared / "a")], shared, shared / "cache") == expected

    as_another_user(check)


def test_sets_of_another_user_are_named_if_they_cannot_be_deleted(shared: Path) -> None:
    decode(shared)
    for path in (shared / "cache").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def check() -> None:
        with pytest.raises(UserError, match=r"\.npy: cannot be deleted, .*; 0 of 1 sets were deleted"):
            delete_cached_sets(list_cached_sets(shared / "cache"))

    as_another_user(check)
    assert len(list_cached_sets(shared / "cache")) == 1


def test_lock_files_follow_the_umask(shared: Path) -> None:
    """Else a group that shares a cache could not use the lock of another member."""
    before = os.umask(0o002)
    try:
        decode(shared)
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o020 for path in (shared / "cache").rglob("*"))
