"""The terminal: messages and progress bars that do not write over each other.

On a terminal, bars live below the messages; elsewhere (a file, a pipe, CI) there are plain lines only.
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

EXIT_USAGE = 2  # exit status
ON_BAR = {"on_bar": True}
LOG_INTERVAL = 30.0  # seconds from one line to the next, where there is no bar
WEEK = 7 * 24 * 3600  # seconds: the time left is estimated over all steps so far, however slow they are


@dataclass(frozen=True)
class BarState:
    """What a bar looks like now."""

    number: int  # tells the bars of a process apart
    description: str
    total: int
    done: int
    gone: bool = False


_shared: Progress | None = None
_elsewhere: Callable[[BarState], None] | None = None  # where this process's bars are drawn instead
_numbers = itertools.count()


class ConsoleHandler(logging.Handler):
    """Writes log records through the console that also draws the progress bars.

    Records with `extra=ON_BAR` say what a bar says, and are left out where there are bars.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if has_bar(record):
            return
        get_console().print(self.format(record), markup=False, highlight=False, soft_wrap=True)


def has_bar(record: logging.LogRecord) -> bool:
    """Whether a bar on this terminal says the same."""
    return getattr(record, "on_bar", False) and get_console().is_terminal


def sanitize(text: object) -> str:
    """Text from a file without the control characters that could command a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def escape_markup(text: object) -> str:
    """Text from a file for rich: harmless, and none of it taken for markup."""
    return escape(sanitize(text))


def exit_with_error(message: str) -> NoReturn:
    """Ends the process with the status of a command that was refused, and a message why."""
    print(f"error: {sanitize(message)}", file=sys.stderr)
    raise SystemExit(EXIT_USAGE)


def progress_on_stderr() -> None:
    """Draws bars and messages on standard error, where standard output carries a command's result."""
    reconfigure(stderr=True)


class BarDisplay:
    """Bars on the terminal of this process, its own and those of others; draws nothing where there is no terminal."""

    def __init__(self) -> None:
        self._tasks: dict[int, TaskID] = {}

    def draw(self, drawing: BarState) -> None:
        if _shared is None:
            return
        if drawing.gone:
            self._remove(drawing.number)
        elif drawing.number in self._tasks:
            _shared.update(self._tasks[drawing.number], completed=drawing.done, description=drawing.description)
        else:
            task = _shared.add_task(drawing.description, total=drawing.total, completed=drawing.done)
            self._tasks[drawing.number] = task

    def clear(self) -> None:
        for number in list(self._tasks):
            self._remove(number)

    def _remove(self, number: int) -> None:
        if _shared is not None and number in self._tasks:
            _shared.remove_task(self._tasks[number])
        self._tasks.pop(number, None)


class Bar:
    """One progress bar."""

    def __init__(self, drawing: BarState, draw: Callable[[BarState], None], told: bool) -> None:
        self._drawing, self._draw = drawing, draw
        self._pulse = time.monotonic() + LOG_INTERVAL if told else float("inf")
        draw(drawing)

    def advance(self, steps: int = 1, description: str | None = None) -> None:
        now = self._drawing
        self._drawing = replace(now, done=now.done + steps, description=description or now.description)
        self._draw(self._drawing)
        if time.monotonic() > self._pulse:
            self._pulse = time.monotonic() + LOG_INTERVAL
            log.info("%s: %d of %d", self._drawing.description, self._drawing.done, now.total, extra=ON_BAR)

    def close(self) -> None:
        self._draw(replace(self._drawing, gone=True))


def set_bar_sink(draw: Callable[[BarState], None]) -> None:
    """From now on the bars of this process are drawn by another."""
    global _elsewhere
    _elsewhere = draw


@contextmanager
def bar(description: str, total: int, done: int = 0, told: bool = False) -> Iterator[Bar]:
    """A progress bar for the time of a block; bars of nested blocks are drawn under each other.

    `told` is for what says nothing else: without a terminal there is a line now and then.
    """
    global _shared
    outermost = _shared is None and _elsewhere is None
    if outermost and get_console().is_terminal:
        _shared = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=get_console(),
            transient=True,
            speed_estimate_period=WEEK,
        )
        _shared.start()
    shown = Bar(BarState(next(_numbers), description, total, done), _elsewhere or BarDisplay().draw, told)
    try:
        yield shown
    finally:
        shown.close()
        if outermost and _shared is not None:
            _shared.stop()
            _shared = None
