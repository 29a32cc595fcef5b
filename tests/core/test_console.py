"""What is said where something takes long: while a lock is waited for, and where no terminal shows a bar."""

import fcntl
import logging
import threading
from pathlib import Path

import pytest

from crackdet.core import console, locks
from crackdet.core.console import bar
from crackdet.core.locks import lock_with_notice


def test_who_waits_for_another_process_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    caplog.set_level(logging.INFO)
    with lock_with_notice(tmp_path / "lock", "nobody else has it"):
        pass
    assert not caplog.text
    with (tmp_path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        timer = threading.Timer(0.5, lambda: fcntl.flock(other, fcntl.LOCK_UN))
        timer.start()
        with lock_with_notice(tmp_path / "lock", "another reads"):
            assert "waiting: another reads" in caplog.text
        timer.join()


@pytest.mark.parametrize(("told", "lines"), [(True, ["reading: 1 of 3", "reading: 2 of 3"]), (False, [])])
def test_without_a_terminal_there_is_a_line_now_and_then(
    told: bool, lines: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(console, "PULSE", -1.0)
    with bar("reading", 3, told=told) as progress:
        progress.advance()
        progress.advance()
        monkeypatch.setattr(console, "PULSE", 3600.0)
    assert [record.message for record in caplog.records] == lines
