"""Judgements on a terminal: a row for each, or runs against the sets they were tested on."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from crackdet.core.console import escape_markup
from crackdet.inference.evaluation import METRICS, Evaluation


def judgement_table(judgements: Sequence[Evaluation], metric: str) -> Table:
    """Trained on x tested on, in one metric, where there are several of both; else all metrics of each."""
    runs = list(dict.fromkeys(judgement.run for judgement in judgements))
    sets = list(dict.fromkeys(judgement.tested_on for judgement in judgements))
    return _matrix(judgements, runs, sets, metric) if len(runs) > 1 and len(sets) > 1 else _rows(judgements)


def _matrix(judgements: Sequence[Evaluation], runs: Sequence[str], sets: Sequence[str], metric: str) -> Table:
    table = Table(title=f"{metric}: trained on \N{MULTIPLICATION SIGN} tested on", title_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("trained on")
    for name in sets:
        table.add_column(escape_markup(name), justify="right", overflow="fold")
    cells = {(judgement.run, judgement.tested_on): judgement for judgement in judgements}
    for run in runs:
        values = [f"{getattr(cells[run, name].metrics, metric):.4f}" for name in sets]
        table.add_row(run, escape_markup(cells[run, sets[0]].trained_on), *values)
    return table


def _rows(judgements: Sequence[Evaluation]) -> Table:
    table = Table()
    table.add_column("run", no_wrap=True)
    table.add_column("trained on")
    table.add_column("tested on", overflow="fold")
    for name in ("images", *METRICS):
        table.add_column(name, justify="right", no_wrap=True)
    for judgement in judgements:
        values = [f"{value:.4f}" for value in asdict(judgement.metrics).values()]
        names = (judgement.run, escape_markup(judgement.trained_on), escape_markup(judgement.tested_on))
        table.add_row(*names, str(judgement.images), *values)
    return table
