"""The monitored runs as a screen: a few lines and small tables, no larger than the terminal."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from crackdet.analysis.differences import Differences
from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.store.snapshot import Status
from crackdet.watch.monitor import StoreMonitor, WatchedRun

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
FIXED_LINES = 12  # lines that are not rows of a table, if the counts take two
FEW = 5  # rows of the other tables if there are more running runs than fit


class Screen:
    """Renders a `StoreMonitor`; reads the settings of a run once, while it is shown."""

    def __init__(self, monitor: StoreMonitor) -> None:
        self._monitor = monitor
        self._rows: dict[WatchedRun, RunRow] = {}

    def render(self, height: int | None = None) -> Group:
        """Render everything within this many lines; None: as many as needed for all running runs."""
        monitor = self._monitor
        runs = list(monitor.runs.values())
        running = [run for run in runs if run.status is Status.RUNNING]
        ended = sorted((run for run in runs if run.status in ENDED), key=lambda run: run.stamp.changed, reverse=True)
        todo = [run for run in runs if run.status is Status.TODO]
        room = max(3, height - FIXED_LINES) if height else len(running) + 2 * FEW
        shown = running[: max(1, room - 2 * min(FEW, room // 4))]
        room -= len(shown)
        upcoming = todo[: min(FEW, room // 2)]
        recent = ended[: min(2 * FEW, room - len(upcoming))]
        best = monitor.best
        settings = self._describe([*shown, *recent, *upcoming, *([best] if best else [])])

        headline = f"{sanitize(monitor.folder)}  {time.strftime('%H:%M:%S')}"
        parts: list[RenderableType] = [_line(headline, "bold"), _counts(monitor)]
        if best is not None:
            parts.append(_line(f"best {best.accuracy:.4f}  {best.id}  {settings[best.id]}", "bold green"))
        if shown:
            parts += ["", _running_table(shown, settings)]
        if len(shown) < len(running):
            parts.append(_line(f"and {len(running) - len(shown)} more running", "dim"))
        if recent:
            parts += ["", _ended_table(recent, settings)]
        if upcoming:
            parts += ["", _todo_table(upcoming, len(todo), settings)]
        return Group(*parts)

    def _describe(self, runs: Iterable[WatchedRun]) -> dict[str, str]:
        """Return the settings that distinguish each of the shown runs from the others."""
        self._rows = {run: self._rows.get(run) or self._monitor.row(run) for run in runs}
        differences = Differences(self._rows.values())
        return {
            run.id: sanitize(differences.describe(row) or " ".join(map(_short, self._monitor.overrides(run))))
            for run, row in self._rows.items()
        }


def _counts(monitor: StoreMonitor) -> Text:
    """Return `2 running, 14 finished, 6 to do`."""
    number = Counter(run.status for run in monitor.runs.values())
    parts = [
        Text(f"{number[status]:,} {'to do' if status is Status.TODO else status}", style)
        for status, style in STYLES.items()
        if number[status]
    ]
    if monitor.num_unread:
        parts.append(Text(f"{monitor.num_unread:,} being read", "dim"))
    return Text(", ").join(parts or [Text("no runs yet", "dim")])


def change_line(run: WatchedRun) -> str:
    """Return a line about a run that has changed."""
    progress = run.progress
    line = f"{time.strftime('%H:%M:%S')} {run.status} {run.id}"
    if run.accuracy is not None:
        return f"{line}: accuracy {run.accuracy:.4f}"
    if run.status is Status.RUNNING and progress.epochs:
        left = _time_left(run)
        return f"{line}: epoch {_epochs(run)}, accuracy {_metric(progress.accuracy)}{f', {left} left' if left else ''}"
    return f"{line}: {sanitize(run.reason)}" if run.reason else line


def _running_table(runs: Sequence[WatchedRun], settings: dict[str, str]) -> Table:
    rows = []
    for run in runs:
        progress = run.progress
        numbers = (_epochs(run), _metric(progress.accuracy), _metric(progress.best), _time_left(run))
        rows.append([Text(run.id, "cyan"), *map(Text, numbers), Text(settings[run.id])])
    return _table(("running", "epoch", "accuracy", "best", "left", "what differs"), rows)


def _ended_table(runs: Sequence[WatchedRun], settings: dict[str, str]) -> Table:
    rows = []
    for run in runs:
        accuracy = _metric(run.accuracy if run.accuracy is not None else run.progress.best)
        why = sanitize(run.reason).replace("\n", " ") or settings[run.id]
        status = Text(run.status, STYLES[run.status])
        rows.append([Text(run.id), Text(_when(run.stamp.changed)), status, Text(accuracy), Text(why)])
    return _table(("ended", "when", "status", "accuracy", "why, or what differs"), rows)


def _todo_table(runs: Sequence[WatchedRun], total: int, settings: dict[str, str]) -> Table:
    title = "what differs" if len(runs) == total else f"what differs (next {len(runs)} of {total})"
    return _table(("to do", title), [[Text(run.id, "dim"), Text(settings[run.id], "dim")] for run in runs])


def _epochs(run: WatchedRun) -> str:
    progress = run.progress
    return f"{progress.epochs}/{progress.max_epochs}" if progress.max_epochs else str(progress.epochs or "")


def _metric(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _when(seconds: float) -> str:
    """Return `17:50:09`, or `24 Nov` for another day."""
    recent = abs(time.time() - seconds) < 86400
    return time.strftime("%H:%M:%S" if recent else "%d %b", time.localtime(seconds))


def _time_left(run: WatchedRun) -> str:
    """Return `1:05:09` or `5:09`."""
    seconds = run.progress.seconds_left(time.time() - run.last_epoch)
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(override: str) -> str:
    """Return `model.conv_out=[64,128]` as `conv_out=[64,128]`."""
    key, equals, value = override.partition("=")
    return key.rpartition(".")[2] + equals + value


def _table(names: Sequence[str], rows: Sequence[Sequence[Text]]) -> Table:
    """Return a table whose last column shrinks to make room for the others."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    *others, last = zip(names, *rows, strict=True)
    for name, *cells in others:
        width = max(len(cell) for cell in (name, *cells))
        is_number = name in ("epoch", "accuracy", "best", "left")
        table.add_column(name, min_width=width, no_wrap=True, justify="right" if is_number else "left")
    table.add_column(last[0], no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*row)
    return table


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
