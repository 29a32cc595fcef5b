"""The terminal: messages and progress bars that do not write over each other.

On a terminal, bars live below the messages; elsewhere (a file, a pipe, CI) there are plain lines only.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich import get_console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger("crackdet")

ON_BAR = {"on_bar": True}
WEEK = 7 * 24 * 3600  # seconds: the time left is estimated over all steps so far, however slow they are

_shared: Progress | None = None


class ConsoleHandler(logging.Handler):
    """Writes log records through the console that also draws the progress bars.

    Records with `extra=ON_BAR` say what a bar says, and are left out where there are bars.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "on_bar", False) and get_console().is_terminal:
            return
        get_console().print(self.format(record), markup=False, highlight=False, soft_wrap=True)


def harmless(text: object) -> str:
    """Text from a file without the control characters that could command a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def plain(text: object) -> str:
    """Text from a file for rich: harmless, and none of it taken for markup."""
    return escape(harmless(text))


class Bar:
    """One progress bar; does nothing where there is no terminal."""

    def __init__(self, progress: Progress | None, description: str, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, completed=done) if progress else None

    def advance(self, steps: int = 1, description: str | None = None) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=steps, description=description)

    def close(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)


@contextmanager
def bar(description: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A progress bar for the time of a block; bars of nested blocks are drawn under each other."""
    global _shared
    outermost = _shared is None
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
    shown = Bar(_shared, description, total, done)
    try:
        yield shown
    finally:
        shown.close()
        if outermost and _shared is not None:
            _shared.stop()
            _shared = None
