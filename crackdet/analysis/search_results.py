"""The results of a search on a terminal: its best trials, and which parameters matter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from crackdet.analysis.differences import value_text
from crackdet.analysis.tables import console
from crackdet.core.console import escape_markup
from crackdet.core.files import read_json

FILE = "search.json"  # in a sweep's folder


def show_search(directory: Path) -> None:
    """Print the results of a search; nothing if the sweep is no search."""
    content = read_json(directory / FILE)
    if not content:
        return
    out = console()
    counts = ", ".join(f"{count} {word}" for word, count in content["trials"].items())
    number = sum(content["trials"].values())
    out.print(f"{number} trial{'' if number == 1 else 's'}: {counts or 'none'}", highlight=False)
    objectives, best = content["objectives"], content["best"]
    if len(objectives) > 1 and best:
        names = [f"{objective['name']} ({objective['direction'][:3]}.)" for objective in objectives]
        table = Table("runs", "parameters", *names, title="Pareto front", title_justify="left")
        for trial in best:
            values = (f"{value:.4g}" for value in trial["values"])
            table.add_row(escape_markup(" ".join(trial["runs"])), escape_markup(_describe(trial["params"])), *values)
        out.print(table)
    elif best and len(content["seeds"]) > 1:
        out.print(
            f"best mean {objectives[0]['name']} over {len(content['seeds'])} seeds {best[0]['values'][0]:.4f}: "
            f"{escape_markup(_describe(best[0]['params']))}",
            soft_wrap=True, highlight=False, style="bold",
        )  # fmt: skip
    for name, shares in content["importance"].items():
        if shares:
            listed = ", ".join(f"{escape_markup(key)} {share:.0%}" for key, share in shares.items())
            out.print(f"share of the variance of {name} that each parameter explains alone: {listed}", highlight=False)


def _describe(params: Mapping[str, Any]) -> str:
    """Return `conv_out=[64,128] linear_features=512`."""
    return " ".join(f"{key.rpartition('.')[2]}={value_text(value)}" for key, value in params.items())
