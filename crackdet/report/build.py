"""Write the runs of a sweep or store as one self-contained HTML file."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from crackdet.analysis.differences import Differences
from crackdet.analysis.ranking import Summary, summarize
from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.core.files import write_text
from crackdet.core.templates import page_environment
from crackdet.core.text import list_first
from crackdet.report.formatting import NO_VALUE, count, percent
from crackdet.report.marker import FILE
from crackdet.report.reproduction import Recipe, recipe, sweep_command
from crackdet.report.run_table import measure_of
from crackdet.report.section import build_section, describe
from crackdet.store.sweep_record import SweepRecord

MAX_SECTIONS = 4
MAX_FAILURES = 200
SHOWN_ROWS = 50  # of a table, until the reader asks for all


def write_report(folder: Path, to: Path | None = None, metric: str = "accuracy", licenses: Sequence[str] = ()) -> Path:
    """Write the report of a sweep's folder or of a run store, by default as `report.html` in that folder.

    Args:
        licenses: See `summarize`.

    Raises:
        UserError: If there is no such folder or metric.
        WriteFailed: If the file cannot be written.
    """
    summary = summarize(folder, metric, licenses)
    target = folder / FILE if to is None else to
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, _render(_content(summary, folder)))
    return target


def _content(summary: Summary, folder: Path) -> dict[str, Any]:
    """Return the content of the page, as `report.html` uses it."""
    ranked = list(zip(summary.rankings, summary.decisions, strict=True))[:MAX_SECTIONS]
    return {
        "title": _title(summary, folder),
        "counts": _counts(summary),
        "folder": sanitize(folder),
        "written": datetime.now().astimezone().strftime("%-d %B %Y, %H:%M"),
        "version": version("crackdet"),
        "notes": _notes(summary),
        "sections": [
            build_section(number, ranking, summary.metric, decision)
            for number, (ranking, decision) in enumerate(ranked, 1)
        ],
        "failures": _failures(summary.unranked[:MAX_FAILURES]),
        "num_unfinished": len(summary.unranked),
        "recipes": _recipes(summary),
        "sweep_command": sweep_command(summary.rankings[0][0]) if summary.rankings else None,
    }


def _render(page: Mapping[str, Any]) -> str:
    """Render the page as HTML; file names, settings and messages are escaped."""
    environment = page_environment("crackdet.report", "page")
    environment.filters |= {"percent": percent, "count": count}
    asset = environment.loader.get_source  # type: ignore[union-attr]
    script, style = (asset(environment, name)[0] for name in ("report.js", "report.css"))
    plotly = get_plotlyjs()
    figures = {one.id: json.loads(one.figure.to_json()) for section in page["sections"] for one in section["figures"]}
    return environment.get_template("report.html").render(
        page=page,
        no_value=NO_VALUE,
        shown_rows=SHOWN_ROWS,
        policy=_content_security_policy(plotly, script),
        style=Markup(style),
        script=Markup(script),
        plotly=Markup(plotly),
        figures=_script_json(figures),
    )


def _script_json(content: object) -> str:
    """Return JSON that cannot end the script element it is in."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _content_security_policy(*scripts: str) -> str:
    """Return a policy that allows these scripts and nothing from outside the file.

    Plotly compiles the shaders of the parallel coordinates, which needs `unsafe-eval`.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def _title(summary: Summary, folder: Path) -> str:
    names = sorted({str(row.setting("model.name")) for ranking in summary.rankings for row in ranking})
    return sanitize(f"{_folder_name(folder)}: {list_first(names, 3) or 'no finished run yet'}")


def _folder_name(folder: Path) -> str:
    """Return `Sweep 2026-11-30/20-15-02` or `Run store runs`; Hydra names the folder of a sweep by day and time."""
    path = folder.resolve()
    if not SweepRecord(path).file.exists():
        return f"Run store {path.name}"
    is_time = path.name.replace("-", "").isdigit()
    return f"Sweep {path.parent.name}/{path.name}" if is_time else f"Sweep {path.name}"


def _counts(summary: Summary) -> str:
    finished = sum(len(ranking) for ranking in summary.rankings)
    statuses = [str(row.status) for row in summary.unranked]
    others = [f"{statuses.count(status):,} {status}" for status in dict.fromkeys(statuses)]
    return ", ".join([f"{finished:,} runs finished", *others])


def _notes(summary: Summary) -> list[str]:
    notes = [summary.note] if summary.note else []
    if len(summary.rankings) > 1:
        notes.append(
            f"The runs were evaluated on {len(summary.rankings)} different sets of validation images. Only runs on the "
            "same images can be compared, so each set has a section of its own."
        )
    if left_out := summary.rankings[MAX_SECTIONS:]:
        notes.append(f"{len(left_out)} smaller sets with {sum(map(len, left_out)):,} runs are left out.")
    notes += [
        f"Repaired: {row.id}, {sanitize(row.result['repaired'])}" for row in summary if row.result.get("repaired")
    ]
    return notes


def _failures(unfinished: Sequence[RunRow]) -> list[dict[str, Any]]:
    differences = Differences(unfinished)
    return [
        {"id": row.id, "status": str(row.status), "settings": describe(row, differences),
         "epochs": len(row.snapshot.history), "reason": sanitize(row.reason)}
        for row in unfinished
    ]  # fmt: skip


def _recipes(summary: Summary) -> list[Recipe]:
    """Return how to train the recommended run and the best run again."""
    decision = summary.decision
    if decision is None:
        return []
    found = (
        [recipe("The recommended run", decision.recommended)] if decision.is_recommended(decision.recommended) else []
    )
    if not decision.is_recommended(decision.best):
        found.append(recipe(f"The run with the highest {measure_of(summary.metric).title}", decision.best))
    return found
