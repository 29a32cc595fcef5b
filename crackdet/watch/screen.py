"""The board as it is shown: a few lines and small tables, no wider and no higher than the terminal."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from crackdet.analysis.rows import RunRow, differing_keys
from crackdet.analysis.tables import describe
from crackdet.core.console import sanitize
from crackdet.store.run_store import Status
from crackdet.watch.monitor import RunSnapshot, StoreMonitor

STYLES = {
    Status.RUNNING: "cyan",
    Status.FINISHED: "green",
    Status.FAILED: "red",
    Status.CORRUPT: "red",
    Status.INTERRUPTED: "yellow",
    Status.PRUNED: "magenta",
    Status.TODO: "dim",
}
ENDED = (Status.FINISHED, Status.FAILED, Status.CORRUPT, Status.PRUNED, Status.INTERRUPTED)
HEAD = 12  # lines that are not rows of a table, where the counts take two
FEW = 5  # rows of what has ended lately, and of what is to come, where there is room for more of what runs


class Screen:
    """Draws a board; settings of runs, which it does not keep, are read once for those that are shown."""

    def __init__(self, board: StoreMonitor) -> None:
        self._board = board
        self._entries: dict[RunSnapshot, RunRow] = {}

    def draw(self, height: int | None = None) -> Group:
        """Everything within so many lines; None: as many as there are runs at work."""
        board = self._board
        running = [seen for seen in board.seen.values() if seen.status is Status.RUNNING]
        ended = sorted(
            (seen for seen in board.seen.values() if seen.status in ENDED), key=lambda seen: seen.changed, reverse=True
        )
        todo = [seen for seen in board.seen.values() if seen.status is Status.TODO]
        room = max(3, height - HEAD) if height else len(running) + 2 * FEW
        shown = running[: max(1, room - 2 * min(FEW, room // 4))]
        room -= len(shown)
        coming = todo[: min(FEW, room // 2)]
        lately = ended[: min(2 * FEW, room - len(coming))]
        best = board.best
        words = self._words([*shown, *lately, *coming, *([best] if best else [])])

        parts: list[RenderableType] = [headline(board.folder), counts(board)]
        if best is not None:
            parts.append(_line(f"best {best.accuracy:.4f}  {best.id}  {words[best.id]}", "bold green"))
        if shown:
            parts += ["", self._running(shown, words)]
        if len(shown) < len(running):
            parts.append(_line(f"and {len(running) - len(shown)} more at work", "dim"))
        if lately:
            parts += ["", self._ended(lately, words)]
        if coming:
            parts += ["", self._coming(coming, len(todo), words)]
        return Group(*parts)

    def _running(self, runs: Sequence[RunSnapshot], words: dict[str, str]) -> Table:
        rows = []
        for seen in runs:
            course = seen.course
            remaining = left(course.seconds_left(time.time() - seen.told))
            figures = (epochs(seen), figure(course.accuracy), figure(course.best), remaining)
            rows.append([Text(seen.id, "cyan"), *map(Text, figures), Text(words[seen.id])])
        return _table(("running", "epoch", "accuracy", "best", "left", "what differs"), rows)

    def _ended(self, runs: Sequence[RunSnapshot], words: dict[str, str]) -> Table:
        rows = []
        for seen in runs:
            accuracy = figure(seen.accuracy if seen.accuracy is not None else seen.course.best)
            told = sanitize(seen.reason).replace("\n", " ") or words[seen.id]
            status = Text(seen.status, STYLES[seen.status])
            rows.append([Text(seen.id), Text(when(seen.changed)), status, Text(accuracy), Text(told)])
        return _table(("ended", "when", "status", "accuracy", "why, or what differs"), rows)

    def _coming(self, runs: Sequence[RunSnapshot], number: int, words: dict[str, str]) -> Table:
        title = "what differs" if len(runs) == number else f"what differs (next {len(runs)} of {number})"
        return _table(("to do", title), [[Text(seen.id, "dim"), Text(words[seen.id], "dim")] for seen in runs])

    def _words(self, runs: Iterable[RunSnapshot]) -> dict[str, str]:
        """What sets each of the runs that are shown apart from the others."""
        self._entries = {seen: self._entries.get(seen) or self._board.entry(seen) for seen in runs}
        keys = differing_keys(self._entries.values())
        return {
            seen.id: sanitize(describe(entry, keys) or " ".join(map(_short, self._board.given(seen))))
            for seen, entry in self._entries.items()
        }


def headline(folder: Path) -> Text:
    return _line(f"{sanitize(folder)}  {time.strftime('%H:%M:%S')}", "bold")


def counts(board: StoreMonitor) -> Text:
    """`2 running, 14 finished, 6 to do`."""
    number = board.count()
    parts = [
        (f"{number[status]:,} {'to do' if status is Status.TODO else status}", STYLES[status])
        for status in STYLES
        if number[status]
    ]
    if board.unread:
        parts.append((f"{board.unread:,} being read", "dim"))
    text = Text()
    for place, (words, style) in enumerate(parts or [("no runs yet", "dim")]):
        text.append(", " if place else "").append(words, style)
    return text


def report(seen: RunSnapshot) -> str:
    """A line about a run that has changed."""
    course = seen.course
    line = f"{time.strftime('%H:%M:%S')} {seen.status} {seen.id}"
    if seen.accuracy is not None:
        return f"{line}: accuracy {seen.accuracy:.4f}"
    if seen.status is Status.RUNNING and course.epochs:
        rest = left(course.seconds_left(time.time() - seen.told))
        return f"{line}: epoch {epochs(seen)}, accuracy {figure(course.accuracy)}{f', {rest} left' if rest else ''}"
    return f"{line}: {sanitize(seen.reason)}" if seen.reason else line


def epochs(seen: RunSnapshot) -> str:
    course = seen.course
    return f"{course.epochs}/{course.max_epochs}" if course.max_epochs else str(course.epochs or "")


def figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def when(seconds: float) -> str:
    """`17:50:09`; of another day `24 Nov`."""
    recent = abs(time.time() - seconds) < 86400
    return time.strftime("%H:%M:%S" if recent else "%d %b", time.localtime(seconds))


def left(seconds: float | None) -> str:
    """`1:05:09` or `5:09`."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(override: str) -> str:
    """`model.conv_out=[64,128]` as `conv_out=[64,128]`."""
    key, equals, value = override.partition("=")
    return key.rpartition(".")[2] + equals + value


def _table(names: Sequence[str], rows: Sequence[Sequence[Text]]) -> Table:
    """A table whose last column makes room for the others."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    *others, last = zip(names, *rows, strict=True)
    for name, *cells in others:
        width = max(len(cell) for cell in (name, *cells))
        is_figure = name in ("epoch", "accuracy", "best", "left")
        table.add_column(name, min_width=width, no_wrap=True, justify="right" if is_figure else "left")
    table.add_column(last[0], no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*row)
    return table


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
