"""The summary as text, as `crackdet summary` prints it, and as HTML for a notebook."""

from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

from crackdet.analysis.columns import Column, usual_columns, value_column
from crackdet.analysis.differences import Differences
from crackdet.analysis.rows import RunRow
from crackdet.analysis.tables import MAX_ROWS, console, show
from crackdet.core.console import sanitize

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision
    from crackdet.analysis.ranking import Summary


def as_text(summary: "Summary") -> str:
    """Return what `Summary.show` prints, without colours."""
    text = StringIO()
    show(summary, out=Console(file=text, width=console().width))
    return text.getvalue().rstrip("\n")


def as_html(summary: "Summary") -> str:
    """Return a table for each set of validation images with the decision below it, and one of the other runs."""
    parts = []
    for ranking, decision in zip(summary.rankings, summary.decisions, strict=True):
        parts.append(_ranking(summary, ranking, decision))
        parts += [f"<p>{escape(sanitize(sentence))}</p>" for sentence in (*decision.sentences, *decision.notes)]
    if summary.unranked:
        describe = Differences(summary).describe
        rows = [(row.id, str(row.status), describe(row), row.reason) for row in summary.unranked[:MAX_ROWS]]
        parts.append(_table(("run", "status", "what differs", "reason"), rows))
    return "\n".join(parts) or f"<p>no runs in {escape(sanitize(summary.store))}</p>"


def _ranking(summary: "Summary", ranking: Sequence[RunRow], decision: "Decision") -> str:
    shown = ranking[:MAX_ROWS]
    columns = [
        Column("run", lambda row: row.id),
        Column("what differs", Differences(ranking, decision.differing_keys).describe),
        value_column(summary.metric),
        *usual_columns(decision, shown).values(),
    ]
    columns = [column for column in columns if any(map(column.text, shown))]
    rows = [(str(rank), *(column.text(row) for column in columns)) for rank, row in enumerate(shown, 1)]
    more = f"<p>and {len(ranking) - len(shown)} more</p>" if len(shown) < len(ranking) else ""
    return _table(("", *(column.title for column in columns)), rows) + more


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(sanitize(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(titles, 'th')}</thead><tbody>{body}</tbody></table>"
