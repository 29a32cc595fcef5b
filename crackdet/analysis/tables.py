"""The summary on a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import get_console
from rich.console import Console
from rich.table import Table

from crackdet.analysis.columns import (
    TITLES,
    Column,
    chance_text,
    describe,
    distinguishing_keys,
    figure,
    of_decision,
    value_text,
)
from crackdet.analysis.filters import full_key, known_keys, parse_filters, value_of
from crackdet.analysis.narrative import fitting
from crackdet.analysis.rows import RunRow, differing_keys
from crackdet.config.messages import nearest
from crackdet.core.console import escape_markup
from crackdet.core.errors import UserError
from crackdet.store.run import Run

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision
    from crackdet.analysis.ranking import Summary
    from crackdet.analysis.test_split import TestResult

__all__ = ["View", "console", "describe", "show", "value_text"]

PIPED_WIDTH = 140  # columns, where there is no terminal to ask
NARROW = 105  # columns: below, the table of combinations leaves something out
TOP = 30  # rows: more are in summary.csv, or asked for
WIDE = ("verdict", "interval", "p_value", "feature_flops", "latency_ms", "loss", "seconds", "parameters", "epoch")
FALLING = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "throughput", "images_per_second")
RUN, SETTINGS, DIGITS = (
    25,
    22,
    6,
)  # columns of the table that a run id, and what differs, are given before others get any


@dataclass(frozen=True)
class View:
    """Which rows and columns a user wants to see; ranks and the decision are always those of all runs."""

    top: int = TOP  # rows of each ranking; 0: all
    sort: str | None = None  # a key; the best first, or with a leading `-` the other way round
    columns: Sequence[str] = ()  # keys; empty: as many of the usual ones as there is room for
    filters: Sequence[str] = ()


def console() -> Console:
    shared = get_console()
    return shared if shared.is_terminal else Console(width=PIPED_WIDTH)


def show(summary: "Summary", view: View | None = None) -> None:
    """A table for each set of validation images, what to decide from it, and what did not finish.

    Raises:
        UserError: where the view names what no run has.
    """
    view, out = view or View(), console()
    conditions = parse_filters(view.filters, summary.entries)
    for ranking, decision in zip(summary.rankings, summary.decisions, strict=True):
        ranks = {entry.id: rank for rank, entry in enumerate(ranking, 1)}
        rows = [entry for entry in ranking if all(condition.holds(entry) for condition in conditions)]
        rows = _sorted(rows, view.sort)
        shown = rows[: view.top] if view.top else rows
        columns = _columns(summary, decision, ranking, view, out.width)
        title = None
        if len(summary.rankings) > 1:
            first = ranking[0].result
            title = f"on {first.get('valid_images')} validation images {str(first.get('valid_digest'))[:8]}"
        out.print(_table(shown, ranks, columns, title))
        if len(shown) < len(rows):
            _line(out, f"and {len(rows) - len(shown)} more: --top 0 shows all")
        if conditions:
            _line(out, f"{len(rows)} of {len(ranking)} runs meet the filter; the rest of this is about all of them")
        if decision is not None:
            _show_decision(out, decision)
        best = ranking[0]
        weights = "" if best.run.weights_file.exists() else " (weights removed)"
        value = f"max {summary.metric} {best.value(summary.metric):.4f}"
        out.print(
            f"{value}: {best.id}, {escape_markup(best.run.weights_file)}{weights}",
            soft_wrap=True, highlight=False, style="bold",
        )  # fmt: skip
    for entry in summary.entries:
        if entry.result.get("repaired"):
            _line(out, f"repaired {entry.id}: {escape_markup(entry.result['repaired'])}")
    unranked = [entry for entry in summary.unranked if all(condition.holds(entry) for condition in conditions)]
    keys = differing_keys(summary.entries) if unranked else []
    for entry in unranked:
        reason = f": {escape_markup(entry.reason)}" if entry.reason else ""
        settings = escape_markup(describe(entry, keys) or " ".join(entry.overrides))
        _line(out, f"{entry.status} {entry.id} ({settings}){reason}")
    if not summary.entries:
        _line(out, f"no runs in {escape_markup(summary.store)}")


def show_threshold(decision: "Decision", recall: float) -> None:
    """Where the recommended network finds so many of the cracks, and how often it then raises a false alarm."""
    entry = decision.recommended
    found = decision.threshold(recall)
    if found is None:
        _line(console(), f"{entry.id}: its predictions are gone, or of one class only, so no threshold can be given")
        return
    said = (
        f"to find {100 * found.recall:.4g} % of the {found.cracks} validation cracks, call a crack above probability "
        f"{found.probability!r} (--threshold) with {entry.id}: it then calls {100 * found.false_alarms:.3g} % of the "
        "validation photographs without a crack one; other photographs may show less of both"
    )
    _line(console(), fitting(said, entry))


def show_test(run: Run, tested: "TestResult") -> None:
    """The winner's accuracy on the test split."""
    low, high = tested.interval
    _line(
        console(),
        f"test accuracy {tested.accuracy:.4f} ({low:.4f} to {high:.4f}) of {run.id} on {tested.images} images "
        "that nothing was chosen by",
    )


def _line(out: Console, text: str) -> None:
    out.print(text, soft_wrap=True, highlight=False)


def _show_decision(out: Console, decision: "Decision") -> None:
    if decision.replicated:
        out.print(_combinations(decision, out.width < NARROW))
    for sentence in decision.sentences:
        out.print(escape_markup(sentence), highlight=False, style="bold")
    for note in decision.notes:
        out.print(f"- {escape_markup(note)}", highlight=False)


def _columns(
    summary: "Summary", decision: "Decision | None", ranking: Sequence[RunRow], view: View, width: int
) -> Mapping[str, Column]:
    """Those that were asked for, or the usual ones that the width has room for, what decides first."""
    more = of_decision(decision) if decision else {}
    keys = distinguishing_keys(ranking, decision.differing_keys if decision else differing_keys(ranking))
    cut = DIGITS if width < NARROW else 0  # the beginning of an id is enough for every command
    start = {
        "run": Column("run", lambda entry: entry.id[: len(entry.id) - cut], right=False),
        "differs": Column(
            "what differs", lambda entry: describe(entry, keys[entry.id.rpartition("-")[0]]), right=False
        ),
    }
    if view.columns:
        special = {**start, **more}
        keys_of = {column.title: key for key, column in special.items()} | {title: key for key, title in TITLES.items()}
        asked = [keys_of.get(name, name) for name in view.columns]  # as they stand above the table, too
        names = [name if name in special else _known(name, summary.entries, list(special)) for name in asked]
        return {name: special.get(name) or figure(name) for name in names}
    chosen = {**start, summary.metric: figure(summary.metric)}
    room = width - 5 - RUN + cut - 3 - SETTINGS - 3 - 11
    for name in WIDE:
        column = more.get(name) or (figure(name) if name not in ("interval", "p_value", "verdict") else None)
        if column is None:
            continue
        widest = max(len(column.text(entry)) for entry in ranking[:TOP])
        if not widest:
            continue
        needed = max(len(column.title), widest) + 3
        if needed > room:
            break
        chosen[name], room = column, room - needed
    return chosen


def _known(name: str, entries: Sequence[RunRow], special: list[str]) -> str:
    try:
        return full_key(name, entries, "--columns")
    except UserError as error:
        if "no run has" not in str(error):
            raise
        raise UserError(f"--columns {name}: no such column{nearest(name, [*special, *known_keys(entries)])}") from None


def _sorted(rows: list[RunRow], sort: str | None) -> list[RunRow]:
    """By a key, the better end first; runs without it last.

    Raises:
        UserError: where no run has such a key.
    """
    if sort is None or not rows:
        return rows
    turned, key = sort.startswith("-"), full_key(sort.lstrip("-"), rows, "--sort")
    having = [entry for entry in rows if value_of(entry, key) is not None]
    numbers = all(isinstance(value_of(entry, key), (int, float)) for entry in having)
    having.sort(
        key=lambda entry: value_of(entry, key) if numbers else str(value_of(entry, key)),
        reverse=(key in FALLING) is not turned,
    )
    return having + [entry for entry in rows if value_of(entry, key) is None]


def _table(rows: Sequence[RunRow], ranks: Mapping[str, int], columns: Mapping[str, Column], title: str | None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right", no_wrap=True)
    for name, column in columns.items():
        if name == "differs":
            table.add_column(column.title, overflow="fold", min_width=14)
        else:
            table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for entry in rows:
        table.add_row(str(ranks[entry.id]), *(escape_markup(column.text(entry)) for column in columns.values()))
    return table


def _combinations(decision: "Decision", narrow: bool) -> Table:
    """Replicates folded into their combinations."""
    table = Table(title="combinations: means over their runs", title_justify="left")
    table.add_column("n", justify="right")
    table.add_column("network", no_wrap=True)
    table.add_column("what differs", overflow="fold", min_width=22)
    for title in ("mean",) if narrow else ("mean", "sd", "95 % interval", "p"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    keys = distinguishing_keys(
        [one.entries[0] for one in decision.combinations], list(decision.combinations[0].settings)
    )
    for place, one in enumerate(decision.combinations[:TOP]):
        name = one.entries[0].id.rpartition("-")[0]
        words = ["best"] if place == 0 else ["equal"] if one.equivalent else []
        if any(map(decision.takes, one.entries)):
            words = [*(word for word in words if word == "best"), "take"]
        figures = [
            f"{one.mean:.4f}",
            "" if one.deviation is None else f"{one.deviation:.4f}",
            f"{one.interval.low:.4f}-{one.interval.high:.4f}",
            chance_text(one.p_value),
        ]
        what = escape_markup(describe(one.entries[0], keys[name]))
        table.add_row(
            str(len(one.entries)), escape_markup(name), what, *figures[: 1 if narrow else None], ", ".join(words)
        )
    return table
