"""A sweep or a run store as one HTML file that needs nothing else: what to take, why, and what it rests on."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from crackdet.analysis.ranking import Summary, summarize
from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.core.files import write_text
from crackdet.report.formatting import NOTHING, count, duration, milliseconds, percent, short

if TYPE_CHECKING:
    from crackdet.report.reproduction import Recipe
    from crackdet.report.section import Section

FILE = "report.html"
MOST_PARTS = 4  # rankings that are told in full
MOST_FAILURES = 200
SHOWN_ROWS = 50  # of a table, until all are asked for


@dataclass(frozen=True)
class Failure:
    id: str
    status: str
    settings: str
    epochs: int
    reason: str


@dataclass(frozen=True)
class Page:
    title: str
    counts: str
    where: str
    written: str
    version: str
    notes: Sequence[str]
    parts: "Sequence[Section]"
    failures: Sequence[Failure]
    failure_notes: Sequence[str]
    recipes: "Sequence[Recipe]"
    sweep_command: str | None


def write_report(folder: Path, to: Path | None = None, metric: str = "accuracy") -> Path:
    """Writes the report of a sweep's folder or of a run store, by default as `report.html` in that folder.

    Raises:
        UserError: where there is no such folder, or nothing is ranked by such a metric.
        WriteFailed: where the file cannot be written.
    """
    summary = summarize(folder, metric)
    target = folder / FILE if to is None else to
    write_text(target, render(compose(summary, folder)))
    return target


def compose(summary: Summary, folder: Path) -> Page:
    """All that the page says."""
    from crackdet.report.reproduction import recipe, sweep_command
    from crackdet.report.run_table import measure_of
    from crackdet.report.section import build

    parts = [
        build(number, ranking, summary.metric, decision)
        for number, (ranking, decision) in enumerate(zip(summary.rankings, summary.decisions, strict=True), 1)
        if number <= MOST_PARTS
    ]
    recipes = []
    if summary.rankings:
        best, decision = summary.rankings[0][0], summary.decisions[0]
        chosen = decision.recommended if decision else best
        highest = f"The run with the highest {measure_of(summary.metric).title}"
        recipes = [recipe("The recommended run" if decision and decision.takes(chosen) else highest, chosen)]
        if best.id != chosen.id:
            recipes.append(recipe(highest, best))
    return Page(
        title=_title(summary),
        counts=_counts(summary),
        where=sanitize(folder),
        written=datetime.now().astimezone().strftime("%-d %B %Y, %H:%M"),
        version=version("crackdet"),
        notes=_notes(summary),
        parts=parts,
        failures=_failures(summary.unranked),
        failure_notes=[f"{MOST_FAILURES} of {len(summary.unranked):,} are listed."]
        if len(summary.unranked) > MOST_FAILURES
        else [],
        recipes=recipes,
        sweep_command=sweep_command(summary.rankings[0][0]) if summary.rankings else None,
    )


def render(page: Page) -> str:
    """The page as HTML; all that comes from file names, settings and messages is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("crackdet.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent, "count": count, "short": short, "milliseconds": milliseconds, "duration": duration,
    }  # fmt: skip
    asset = environment.loader.get_source  # type: ignore[union-attr]
    script, style = (asset(environment, name)[0] for name in ("report.js", "report.css"))
    plotly = get_plotlyjs()
    figures = {drawing.id: json.loads(drawing.figure.to_json()) for part in page.parts for drawing in part.drawings}
    return environment.get_template("report.html").render(
        page=page,
        nothing=NOTHING,
        shown_rows=SHOWN_ROWS,
        policy=_policy(plotly, script),
        style=Markup(style),
        script=Markup(script),
        plotly=Markup(plotly),
        figures=_script_json(figures),
    )


def _script_json(content: object) -> str:
    """JSON that cannot end the element it stands in, whatever its texts are."""
    from markupsafe import Markup

    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _policy(*scripts: str) -> str:
    """What a browser may do with the page: run these scripts, show what is in it, and load nothing.

    Plotly compiles the shaders of the parallel coordinates, which counts as `unsafe-eval`.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def _title(summary: Summary) -> str:
    names = sorted({str(entry.setting("model.name")) for ranking in summary.rankings for entry in ranking})
    if not names:
        return "No finished run yet"
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return sanitize(f"Crack classifiers: {listed}")


def _counts(summary: Summary) -> str:
    finished = sum(len(ranking) for ranking in summary.rankings)
    statuses = [str(entry.status) for entry in summary.unranked]
    others = [f"{statuses.count(status):,} {status}" for status in dict.fromkeys(statuses)]
    return ", ".join([f"{finished:,} runs finished", *others])


def _notes(summary: Summary) -> list[str]:
    notes = []
    if len(summary.rankings) > 1:
        notes.append(
            f"The runs were judged on {len(summary.rankings)} different sets of validation images. Only runs on the "
            "same images can be compared, so each set is a part of its own."
        )
    if left := summary.rankings[MOST_PARTS:]:
        notes.append(f"{len(left)} smaller sets with {sum(map(len, left)):,} runs are left out here.")
    notes += [
        f"Repaired: {entry.id}, {sanitize(entry.result['repaired'])}"
        for entry in summary.entries if entry.result.get("repaired")
    ]  # fmt: skip
    return notes


def _failures(unranked: Sequence[RunRow]) -> list[Failure]:
    from crackdet.report.run_table import distinguishing_keys
    from crackdet.report.section import describe

    shown = unranked[:MOST_FAILURES]
    keys = distinguishing_keys(shown)
    return [
        Failure(
            entry.id, str(entry.status), describe(entry, keys), len(entry.snapshot.history), sanitize(entry.reason)
        )
        for entry in shown
    ]  # fmt: skip
