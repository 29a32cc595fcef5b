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
    decision_columns,
    p_value_text,
    usual_columns,
    value_column,
)
from crackdet.analysis.differences import Differences
from crackdet.analysis.filters import full_key, parse_filters, value_of
from crackdet.analysis.next_steps import firmer_answers, next_commands
from crackdet.analysis.rows import RunRow
from crackdet.core.console import escape_markup
from crackdet.store.result import HIGHER_IS_BETTER
from crackdet.store.run import Run

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision
    from crackdet.analysis.ranking import Summary
    from crackdet.analysis.test_split import TestResult

PIPED_WIDTH = 140  # columns, if the output is no terminal
NARROW = 105  # columns; a narrower table of combinations leaves something out
MAX_ROWS = 30
RUN_WIDTH, SETTINGS_WIDTH = 25, 19  # reserved before other columns are added
CUT_DIGITS = 6  # of a run id in a narrow table; every command accepts the beginning of an id


@dataclass(frozen=True)
class View:
    """The rows and columns that a user asks for. Ranks and the decision always cover all runs."""

    top: int = MAX_ROWS  # rows of each ranking; 0: all
    sort: str | None = None  # a key, the better end first; a leading `-` reverses the order
    columns: Sequence[str] = ()  # keys; empty: as many of the usual ones as fit
    filters: Sequence[str] = ()


def console() -> Console:
    shared = get_console()
    return shared if shared.is_terminal else Console(width=PIPED_WIDTH)


def shown_id(run_id: str, width: int) -> str:
    """Return a run id as a table of this width shows it."""
    return run_id[:-CUT_DIGITS] if width < NARROW else run_id


def show(summary: "Summary", view: View | None = None, out: Console | None = None) -> None:
    """Print a table and the decision for each set of validation images, and the runs that did not finish.

    Args:
        out: The console to print on; by default the terminal.

    Raises:
        UserError: If the view names a key that no run has.
    """
    view, out = view or View(), out or console()
    conditions = parse_filters(view.filters, summary)
    if summary.note:
        _line(out, summary.note)
    for ranking, decision in zip(summary.rankings, summary.decisions, strict=True):
        matching = _sorted([row for row in ranking if all(one.holds(row) for one in conditions)], view.sort)
        rows = matching[: view.top] if view.top else matching
        columns = _columns(summary, decision, ranking, view, out.width)
        out.print(_table(rows, ranking, columns, _title(ranking) if len(summary.rankings) > 1 else None))
        if len(rows) < len(matching):
            _line(out, f"and {len(matching) - len(rows)} more: --top 0 shows all")
        if conditions:
            _line(out, f"{len(matching)} of {len(ranking)} runs match the filter; ranks and decision cover all of them")
        _show_decision(out, decision)
        best = ranking[0]
        weights = "" if best.run.has_weights else " (weights removed)"
        value = f"max {summary.metric} {best.value(summary.metric):.4f}"
        out.print(
            f"{value}: {best.id}, {escape_markup(best.run.weights_file)}{weights}",
            soft_wrap=True, highlight=False, style="bold",
        )  # fmt: skip
        _show_next_steps(out, decision)
    for row in summary:
        if row.result.get("repaired"):
            _line(out, f"repaired {row.id}: {escape_markup(row.result['repaired'])}")
    unranked = [row for row in summary.unranked if all(condition.holds(row) for condition in conditions)]
    differences = Differences(summary if unranked else [])
    for row in unranked:
        reason = f": {escape_markup(row.reason)}" if row.reason else ""
        settings = escape_markup(differences.describe(row) or " ".join(row.overrides))
        _line(out, f"{row.status} {row.id} ({settings}){reason}")
    if not summary and not summary.note:
        _line(out, f"no runs in {escape_markup(summary.store)}")


def show_threshold(decision: "Decision", recall: float) -> None:
    """Print the threshold at which the recommended network finds a share of the cracks, and its false alarms."""
    row = decision.recommended
    found = decision.threshold(recall)
    if found is None:
        _line(console(), f"{row.id}: no threshold: its predictions are missing, or all images are of one class")
        return
    _line(
        console(),
        f"to find {100 * found.recall:.4g} % of the {found.cracks} validation cracks, use --threshold "
        f"{found.probability!r} with {row.id}: {100 * found.false_alarms:.3g} % of the validation images without a "
        "crack are then false alarms; on other images, both rates may be lower",
    )


def show_test(run: Run, tested: "TestResult") -> None:
    """Print the accuracy of the best run on the test split."""
    low, high = tested.interval
    _line(
        console(),
        f"test accuracy {tested.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}) of {run.id} on {tested.images} "
        "images that were not used to train or choose it",
    )


def _line(out: Console, text: str) -> None:
    out.print(text, soft_wrap=True, highlight=False)


def _title(ranking: Sequence[RunRow]) -> str:
    result = ranking[0].result
    return f"on {result['valid_images']} validation images {result['valid_digest'][:8]}"


def _show_decision(out: Console, decision: "Decision") -> None:
    if decision.replicated:
        out.print(_combinations(decision, out.width < NARROW))
    for sentence in decision.sentences:
        out.print(escape_markup(sentence), highlight=False, style="bold")
    for note in decision.notes:
        out.print(f"- {escape_markup(note)}", highlight=False)


def _show_next_steps(out: Console, decision: "Decision") -> None:
    """Print how to get a firmer answer, and the next commands to type."""
    if firmer := firmer_answers(decision):
        _line(out, "for a firmer answer:")
        for text in firmer:
            out.print(f"- {escape_markup(text)}", highlight=False)
    _line(out, "next:")
    for step in next_commands(decision):
        _line(out, f"  {escape_markup(step.command)}  # {escape_markup(step.purpose)}")


def _columns(
    summary: "Summary", decision: "Decision", ranking: Sequence[RunRow], view: View, width: int
) -> Mapping[str, Column]:
    """Return the requested columns, or as many of the usual ones as fit, the most important first."""
    own = decision_columns(decision)
    differences = Differences(ranking, decision.differing_keys)
    cut = CUT_DIGITS if width < NARROW else 0
    start = {
        "run": Column("run", lambda row: shown_id(row.id, width), right=False),
        "differs": Column("what differs", differences.describe, right=False),
    }
    if view.columns:
        special = {**start, **own}
        keys_of = {column.title: key for key, column in special.items()} | {title: key for key, title in TITLES.items()}
        requested = [keys_of.get(name, name) for name in view.columns]  # a title of the table is also a name
        names = [
            name if name in special else full_key(name, summary, "--columns", "no such column", list(special))
            for name in requested
        ]
        return {name: special.get(name) or value_column(name) for name in names}
    chosen = {**start, summary.metric: value_column(summary.metric)}
    room = width - 5 - RUN_WIDTH + cut - 3 - SETTINGS_WIDTH - 3 - 11
    longest = max(len(differences.describe(row)) for row in ranking[:MAX_ROWS])
    for_one_line = max(0, min(longest, width // 2) - SETTINGS_WIDTH)  # so that each run takes one line
    for name, column in usual_columns(decision, ranking[:MAX_ROWS]).items():
        widest = max(len(column.text(row)) for row in ranking[:MAX_ROWS])
        needed = max(len(column.title), widest) + 3
        if needed > (room if name == "verdict" else room - for_one_line):
            break
        chosen[name], room = column, room - needed
    return chosen


def _sorted(rows: list[RunRow], sort: str | None) -> list[RunRow]:
    """Sort by a key, the better end first; runs without it come last.

    Raises:
        UserError: If no run has such a key.
    """
    if sort is None or not rows:
        return rows
    reverse, key = sort.startswith("-"), full_key(sort.lstrip("-"), rows, "--sort")
    having = [row for row in rows if value_of(row, key) is not None]
    numbers = all(isinstance(value_of(row, key), (int, float)) for row in having)
    having.sort(
        key=lambda row: value_of(row, key) if numbers else str(value_of(row, key)),
        reverse=(key in HIGHER_IS_BETTER) is not reverse,
    )
    return having + [row for row in rows if value_of(row, key) is None]


def _table(
    rows: Sequence[RunRow], ranking: Sequence[RunRow], columns: Mapping[str, Column], title: str | None
) -> Table:
    ranks = {row.id: rank for rank, row in enumerate(ranking, 1)}
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right", no_wrap=True)
    for name, column in columns.items():
        if name == "differs":
            table.add_column(escape_markup(column.title), overflow="fold", min_width=14)
        else:
            table.add_column(escape_markup(column.title), justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        table.add_row(str(ranks[row.id]), *(escape_markup(column.text(row)) for column in columns.values()))
    return table


def _combinations(decision: "Decision", narrow: bool) -> Table:
    """Return a row for each combination."""
    table = Table(title="combinations: means over their runs", title_justify="left")
    table.add_column("n", justify="right")
    table.add_column("network", no_wrap=True)
    table.add_column("what differs", overflow="fold", min_width=22)
    for title in ("mean",) if narrow else ("mean", "sd", "95 % interval", "p"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    shown = decision.combinations[:MAX_ROWS]
    differences = Differences([one.rows[0] for one in decision.combinations], list(shown[0].settings))
    for one in shown:
        name = one.rows[0].id.rpartition("-")[0]
        figures = [
            f"{one.mean:.4f}",
            "" if one.deviation is None else f"{one.deviation:.4f}",
            f"{one.interval.low:.4f}-{one.interval.high:.4f}",
            p_value_text(decision.p_value(one)),
        ]
        table.add_row(
            str(len(one.rows)),
            escape_markup(name),
            escape_markup(differences.describe(one.rows[0])),
            *figures[: 1 if narrow else None],
            ", ".join(decision.combination_verdicts(one)),
        )
    return table
