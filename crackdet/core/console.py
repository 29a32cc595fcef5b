"""The terminal: messages and progress bars that do not overwrite each other.

On a terminal the bars stay below the messages. Elsewhere (a file, a pipe, CI) there are only plain lines.
"""

import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NoReturn

from rich import get_console, reconfigure
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger("crackdet")

EXIT_USAGE = 2  # exit status of a command that was refused
ON_BAR = {"on_bar": True}  # `extra` of log records that repeat what a bar shows
LOG_INTERVAL = 30.0  # seconds between progress lines if there is no bar
WEEK = 7 * 24 * 3600  # seconds; the time left is estimated from all steps so far, however slow they are


class ConsoleHandler(logging.Handler):
    """Writes log records through the console that also draws the bars; leaves out what a bar already shows."""

    def emit(self, record: logging.LogRecord) -> None:
        if has_bar(record):
            return
        get_console().print(self.format(record), markup=False, highlight=False, soft_wrap=True)


def has_bar(record: logging.LogRecord) -> bool:
    """Return whether a bar on this terminal shows the same as a log record."""
    return getattr(record, "on_bar", False) and get_console().is_terminal


def sanitize(text: object) -> str:
    """Replace the control characters in a text from a file, which could control the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def escape_markup(text: object) -> str:
    """Sanitize a text from a file and escape it for rich."""
    return escape(sanitize(text))


def exit_with_error(message: str) -> NoReturn:
    """Print why a command is refused, and exit."""
    print(f"error: {sanitize(message)}", file=sys.stderr)
    raise SystemExit(EXIT_USAGE)


def progress_on_stderr() -> None:
    """Draw bars and messages on standard error, because standard output carries the result of the command."""
    reconfigure(stderr=True)


@dataclass(frozen=True)
class BarState:
    """What a bar shows at one moment."""

    number: int  # unique within the process
    description: str
    total: int
    done: int
    closed: bool = False


class _Terminal:
    """Where the bars of this process are drawn: on its own terminal, by another process, or nowhere."""

    def __init__(self) -> None:
        self.progress: Progress | None = None  # while there is a bar on the terminal
        self.sink: Callable[[BarState], None] | None = None
        self.numbers = itertools.count()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Show bars on the terminal during a block; within another such block do nothing."""
        if self.progress is not None or self.sink is not None or not get_console().is_terminal:
            yield
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=get_console(),
            transient=True,
            speed_estimate_period=WEEK,
        ) as self.progress:
            try:
                yield
            finally:
                self.progress = None


_terminal = _Terminal()


class BarDisplay:
    """Draws the bars of one process, this one or another, on the terminal if there is one."""

    def __init__(self) -> None:
        self._tasks: dict[int, TaskID] = {}

    def draw(self, state: BarState) -> None:
        progress = _terminal.progress
        if progress is None:
            return
        if state.closed:
            self._remove(state.number)
        elif state.number in self._tasks:
            progress.update(self._tasks[state.number], completed=state.done, description=state.description)
        else:
            task = progress.add_task(state.description, total=state.total, completed=state.done)
            self._tasks[state.number] = task

    def clear(self) -> None:
        for number in list(self._tasks):
            self._remove(number)

    def _remove(self, number: int) -> None:
        if _terminal.progress is not None and number in self._tasks:
            _terminal.progress.remove_task(self._tasks[number])
        self._tasks.pop(number, None)


class Bar:
    """One progress bar."""

    def __init__(self, state: BarState, draw: Callable[[BarState], None], log_progress: bool) -> None:
        self._state, self._draw = state, draw
        self._next_log = time.monotonic() + LOG_INTERVAL if log_progress else float("inf")
        draw(state)

    def advance(self, steps: int = 1, description: str | None = None) -> None:
        state = self._state
        self._state = replace(state, done=state.done + steps, description=description or state.description)
        self._draw(self._state)
        if time.monotonic() > self._next_log:
            self._next_log = time.monotonic() + LOG_INTERVAL
            log.info("%s: %d of %d", self._state.description, self._state.done, state.total, extra=ON_BAR)

    def close(self) -> None:
        self._draw(replace(self._state, closed=True))


def set_bar_sink(draw: Callable[[BarState], None]) -> None:
    """Send the bars of this process to another process, which draws them."""
    _terminal.sink = draw


@contextmanager
def bar(description: str, total: int, done: int = 0, log_progress: bool = False) -> Iterator[Bar]:
    """Show a progress bar during a block; the bars of nested blocks are drawn below each other.

    Args:
        description: The text beside the bar.
        total: The number of steps.
        done: Steps that are already done.
        log_progress: Without a terminal, log a line every `LOG_INTERVAL` seconds.
    """
    with _terminal.open():
        state = BarState(next(_terminal.numbers), description, total, done)
        shown = Bar(state, _terminal.sink or BarDisplay().draw, log_progress)
        try:
            yield shown
        finally:
            shown.close()
