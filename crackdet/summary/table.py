"""The summary on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import get_console
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crackdet.summary.entries import Entry, differing

if TYPE_CHECKING:
    from crackdet.summary import Summary

PIPED_WIDTH = 140  # columns, where there is no terminal to ask


def console() -> Console:
    shared = get_console()
    return shared if shared.is_terminal else Console(width=PIPED_WIDTH)


def show(summary: "Summary") -> None:
    """A table for each set of validation images, the best run, and what did not finish."""
    out = console()
    keys = differing(summary.entries)
    for ranking in summary.rankings:
        title = None
        if len(summary.rankings) > 1:
            first = ranking[0].result
            title = f"{first.get('valid_images')} validation images {str(first.get('valid_digest'))[:8]}"
        out.print(_table(ranking, keys, title))
    if summary.best is not None:
        best = summary.best
        out.print(
            f"max accuracy {best.accuracy:.4f}: {best.id}, {escape(str(best.run.weights_file))}"
            + ("" if best.run.weights_file.exists() else " (weights removed)"),
            soft_wrap=True, highlight=False, style="bold",
        )  # fmt: skip
    for entry in summary.entries:
        if entry.result.get("repaired"):
            out.print(f"repaired {entry.id}: {escape(str(entry.result['repaired']))}", highlight=False, soft_wrap=True)
    for entry in summary.unranked:
        reason = f": {escape(entry.reason)}" if entry.reason else ""
        out.print(
            f"{entry.status} {entry.id} ({escape(describe(entry, keys) or ' '.join(entry.overrides))}){reason}",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    if not summary.entries:
        out.print(f"no runs in {escape(str(summary.store))}", highlight=False, soft_wrap=True)


def describe(entry: Entry, keys: Sequence[str]) -> str:
    """What sets a run apart: `conv_out=[64,128] seed=1`."""
    keys = [key for key in keys if key != "model.name"]  # the run id says it
    short = {key: key.rpartition(".")[2] for key in keys}
    clear = {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}
    return " ".join(
        f"{clear[key]}={_value(entry.settings[key])}" for key in keys if entry.settings.get(key) is not None
    )


def _table(ranking: Sequence[Entry], keys: Sequence[str], title: str | None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("run", no_wrap=True)
    table.add_column("what differs", overflow="fold")
    for name in ("accuracy", "loss", "epoch", "parameters", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for rank, entry in enumerate(ranking, 1):
        result = entry.result
        table.add_row(
            str(rank),
            entry.id,
            escape(describe(entry, keys)),
            f"{result['accuracy']:.4f}",
            f"{result['loss']:.4f}",
            str(result["epoch"]),
            f"{result['parameters']:,}",
            f"{result['seconds']:.1f}",
        )
    return table


def _value(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
