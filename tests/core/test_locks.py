"""Locks: a waiting process says so, and a check disturbs no other process."""

import fcntl
import logging
import threading
from pathlib import Path

import pytest

from crackdet.core import locks
from crackdet.core.locks import is_held, lock, lock_with_notice


def test_a_process_that_waits_for_a_lock_logs_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "NOTICE_AFTER", 0.05)
    caplog.set_level(logging.INFO)
    with lock_with_notice(tmp_path / "lock", "nobody else holds it"):
        pass
    assert not caplog.text
    with (tmp_path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        timer = threading.Timer(0.5, lambda: fcntl.flock(other, fcntl.LOCK_UN))
        timer.start()
        with lock_with_notice(tmp_path / "lock", "another process reads"):
            assert "waiting: another process reads" in caplog.text
        timer.join()


def test_a_lock_is_held_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with lock(path):
        assert is_held(path)
    assert path.exists() and not is_held(path)


def test_a_concurrent_check_is_not_taken_for_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as a check does, for an instant
        assert not is_held(path)
