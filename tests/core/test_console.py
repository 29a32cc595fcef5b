"""Progress without a terminal, and bars of other processes on one."""

import logging
from collections.abc import Iterator

import pytest
from rich import get_console

from crackdet.core import console
from crackdet.core.console import BarDisplay, BarState, bar


@pytest.mark.parametrize(("log_progress", "lines"), [(True, ["reading: 1 of 3", "reading: 2 of 3"]), (False, [])])
def test_without_a_terminal_progress_is_logged_at_intervals(
    log_progress: bool, lines: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(console, "LOG_INTERVAL", -1.0)
    with bar("reading", 3, log_progress=log_progress) as progress:
        progress.advance()
        progress.advance()
        monkeypatch.setattr(console, "LOG_INTERVAL", 3600.0)
    assert [record.message for record in caplog.records] == lines


@pytest.fixture
def _terminal() -> Iterator[None]:
    """A console that believes to be a terminal."""
    out, was = get_console(), get_console()._force_terminal
    out._force_terminal = True
    yield
    out._force_terminal = was


@pytest.mark.usefixtures("_terminal")
def test_bars_of_this_process_and_of_others_share_the_terminal() -> None:
    def shown() -> list[tuple[str, float]]:
        progress = console._terminal.progress
        return [] if progress is None else [(task.description, task.completed) for task in progress.tasks]

    other = BarDisplay()
    other.draw(BarState(0, "too early", 2, 0))
    with bar("outer", 3) as outer, bar("inner", 2, done=1):
        outer.advance(2)
        other.draw(BarState(0, "another process", 9, 4))
        assert shown() == [("outer", 2), ("inner", 1), ("another process", 4)]
        other.draw(BarState(0, "another process", 9, 5))
        assert shown()[-1] == ("another process", 5)
        other.clear()
        assert shown() == [("outer", 2), ("inner", 1)]
    assert shown() == []


@pytest.mark.usefixtures("_terminal")
def test_bars_of_a_worker_are_sent_to_the_process_that_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[BarState] = []
    monkeypatch.setattr(console._terminal, "sink", sent.append)
    with bar("training", 2) as progress:
        progress.advance()
        assert console._terminal.progress is None
    assert [(state.done, state.closed) for state in sent] == [(0, False), (1, False), (1, True)]
