"""The terminal: messages and progress bars that do not overwrite each other.

On a terminal the bars stay below the messages. Elsewhere (a file, a pipe, CI) there are only plain lines.
"""

import itertools
import logging
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NoReturn

import rich.progress
from rich import get_console
from rich.markup import escape

log = logging.getLogger("crackdet")

ON_BAR = {"on_bar": True}  # `extra` of log records that repeat what a bar shows
LOG_INTERVAL = 30.0  # seconds between progress lines if there is no bar


class ConsoleHandler(logging.Handler):
    """Writes log records through the console that also draws the bars; leaves out what a bar already shows."""

    def emit(self, record: logging.LogRecord) -> None:
        if not has_bar(record):
            get_console().print(sanitize(self.format(record)), markup=False, highlight=False, soft_wrap=True)


def has_bar(record: logging.LogRecord) -> bool:
    """Return whether a bar on this terminal shows the same as a log record."""
    return getattr(record, "on_bar", False) and get_console().is_terminal


def sanitize(text: object) -> str:
    """Replace the control characters in a text from a file: they could control a terminal, or reverse its text."""
    return "".join(c if _is_harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character == "\n" or unicodedata.category(character) == "Zs"  # a space


def escape_markup(text: object) -> str:
    """Sanitize a text from a file and escape it for rich."""
    return escape(sanitize(text))


def print_error(message: str) -> None:
    """Print why a command is refused."""
    print(f"error: {sanitize(message)}", file=sys.stderr)


def exit_with_error(message: str) -> NoReturn:
    """Print why a command is refused, and exit with status 2."""
    print_error(message)
    raise SystemExit(2)


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
        self.progress: rich.progress.Progress | None = None  # while there is a bar on the terminal
        self.sink: Callable[[BarState], None] | None = None
        self.numbers = itertools.count()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Show bars on the terminal during a block; within another such block do nothing."""
        if self.progress is not None or self.sink is not None or not get_console().is_terminal:
            yield
            return
        with rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
            console=get_console(),
            transient=True,
            speed_estimate_period=7 * 24 * 3600,  # a week: the time left is estimated from all steps so far
        ) as self.progress:
            try:
                yield
            finally:
                self.progress = None


_terminal = _Terminal()


class BarDisplay:
    """Draws the bars of one process, this one or another, on the terminal if there is one."""

    def __init__(self) -> None:
        self._tasks: dict[int, rich.progress.TaskID] = {}

    def draw(self, state: BarState) -> None:
        progress, task = _terminal.progress, self._tasks.get(state.number)
        if progress is None:
            return
        if state.closed:
            self._remove(state.number)
        elif task is not None:
            progress.update(task, completed=state.done, description=state.description)
        else:
            self._tasks[state.number] = progress.add_task(state.description, total=state.total, completed=state.done)

    def clear(self) -> None:
        for number in list(self._tasks):
            self._remove(number)

    def _remove(self, number: int) -> None:
        task = self._tasks.pop(number, None)
        if _terminal.progress is not None and task is not None:
            _terminal.progress.remove_task(task)


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
        done: Number of the `total` steps that are already done.
        log_progress: Without a terminal, log a line every `LOG_INTERVAL` seconds.
    """
    with _terminal.open():
        state = BarState(next(_terminal.numbers), description, total, done)
        shown = Bar(state, _terminal.sink or BarDisplay().draw, log_progress)
        try:
            yield shown
        finally:
            shown.close()
