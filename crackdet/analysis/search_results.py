"""The results of a search on a terminal: its best trials, and which parameters matter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from crackdet.analysis.differences import value_text
from crackdet.analysis.tables import console
from crackdet.core.console import escape_markup, sanitize
from crackdet.core.reading import read_json

FILE = "search.json"  # in a sweep's folder


def show_search(directory: Path) -> None:
    """Print the results of a search; nothing if the sweep is no search."""
    content = read_json(directory / FILE)
    if not content:
        return
    out = console()
    try:
        shown = _render(content)
    except (LookupError, TypeError, ValueError, AttributeError):
        out.print(f"{escape_markup(directory / FILE)}: is damaged", highlight=False, soft_wrap=True)
        return
    for part in shown:
        out.print(part, soft_wrap=isinstance(part, Text))


def _render(content: Mapping[str, Any]) -> list[Table | Text]:
    """Return a line of counts, the best trials and the importance of the parameters.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: If the content is not that of a search.
    """
    counts = ", ".join(f"{count} {word}" for word, count in content["trials"].items())
    number = sum(content["trials"].values())
    shown: list[Table | Text] = [_text(f"{number} trial{'' if number == 1 else 's'}: {counts or 'none'}")]
    objectives, best = content["objectives"], content["best"]
    if len(objectives) > 1 and best:
        names = [escape_markup(f"{objective['name']} ({objective['direction'][:3]}.)") for objective in objectives]
        table = Table("runs", "parameters", *names, title="Pareto front", title_justify="left")
        for trial in best:
            values = (f"{value:.4g}" for value in trial["values"])
            table.add_row(escape_markup(" ".join(trial["runs"])), escape_markup(_describe(trial["params"])), *values)
        shown.append(table)
    elif best and len(content["seeds"]) > 1:
        mean, params = best[0]["values"][0], _describe(best[0]["params"])
        line = f"best mean {objectives[0]['name']} over {len(content['seeds'])} seeds {mean:.4f}: {params}"
        shown.append(_text(line, "bold"))
    for name, shares in content["importance"].items():
        if shares:
            listed = ", ".join(f"{key} {share:.0%}" for key, share in shares.items())
            shown.append(_text(f"share of the variance of {name} that each parameter explains alone: {listed}"))
    return shown


def _text(line: str, style: str = "") -> Text:
    return Text(sanitize(line), style)


def _describe(params: Mapping[str, Any]) -> str:
    """Return `conv_out=[64,128] linear_features=512`."""
    return " ".join(f"{key.rpartition('.')[2]}={value_text(value)}" for key, value in params.items())
