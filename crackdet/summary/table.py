"""The summary on a terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import get_console
from rich.console import Console
from rich.table import Table

from crackdet.console import plain
from crackdet.summary.entries import Entry, differing

if TYPE_CHECKING:
    from crackdet.summary import Summary

PIPED_WIDTH = 140  # columns, where there is no terminal to ask
TOP = 30  # rows: more are in summary.csv, or asked for
NARROW = 105  # columns: below, the table leaves something out


def console() -> Console:
    shared = get_console()
    return shared if shared.is_terminal else Console(width=PIPED_WIDTH)


def show(summary: "Summary", top: int = TOP) -> None:
    """A table of the first `top` runs (0: all) for each set of validation images, and what did not finish."""
    out = console()
    for ranking in summary.rankings:
        best = ranking[0]
        title = None
        if len(summary.rankings) > 1:
            title = f"on {best.result.get('valid_images')} validation images {str(best.result.get('valid_digest'))[:8]}"
        shown = ranking[:top] if top else ranking
        out.print(_table(shown, differing(ranking), title, out.width))
        if len(shown) < len(ranking):
            more = f"and {len(ranking) - len(shown)} more: crackdet summary --top 0 FOLDER shows all"
            out.print(more, soft_wrap=True, highlight=False)
        weights = "" if best.run.weights_file.exists() else " (weights removed)"
        out.print(
            f"max accuracy {best.accuracy:.4f}: {best.id}, {plain(best.run.weights_file)}{weights}",
            soft_wrap=True, highlight=False, style="bold",
        )  # fmt: skip
    for entry in summary.entries:
        if entry.result.get("repaired"):
            line = f"repaired {entry.id}: {plain(entry.result['repaired'])}"
            out.print(line, highlight=False, soft_wrap=True)
    keys = differing(summary.entries) if summary.unranked else []
    for entry in summary.unranked:
        reason = f": {plain(entry.reason)}" if entry.reason else ""
        settings = plain(describe(entry, keys) or " ".join(entry.overrides))
        out.print(f"{entry.status} {entry.id} ({settings}){reason}", soft_wrap=True, highlight=False)
    if not summary.entries:
        out.print(f"no runs in {plain(summary.store)}", highlight=False, soft_wrap=True)


def describe(entry: Entry, keys: Sequence[str]) -> str:
    """What sets a run apart: `conv_out=[64,128] seed=1`."""
    keys = [key for key in keys if key != "model.name"]  # the run id says it
    short = {key: key.rpartition(".")[2] for key in keys}
    clear = {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}
    return " ".join(
        f"{clear[key]}={value_text(entry.settings[key])}" for key in keys if entry.settings.get(key) is not None
    )


def _table(ranking: Sequence[Entry], keys: Sequence[str], title: str | None, width: int) -> Table:
    """As many of the columns as the width has room for: what sets the runs apart comes first."""
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "accuracy": lambda result: f"{result['accuracy']:.4f}",
        "loss": lambda result: f"{result['loss']:.4f}",
        "epoch": lambda result: str(result["epoch"]),
        "parameters": lambda result: f"{result['parameters']:,}",
        "seconds": lambda result: f"{result['seconds']:.1f}",
    }
    for name in ("seconds", "epoch", "parameters")[: max(0, (NARROW - width + 9) // 10)]:
        del columns[name]
    table = Table(title=title, title_justify="left")
    table.add_column("rank", justify="right", min_width=4)
    table.add_column("run", no_wrap=True)
    table.add_column("what differs", overflow="fold", min_width=16)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for rank, entry in enumerate(ranking, 1):
        cells = [value(entry.result) for value in columns.values()]
        table.add_row(str(rank), entry.id, plain(describe(entry, keys)), *cells)
    return table


def value_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "[" + ",".join(map(value_text, value)) + "]" if isinstance(value, list) else str(value)
