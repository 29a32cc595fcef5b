"""Commands that look at runs."""

import gc
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from crackdet.cli.common import STORE, RunName, Store, chosen, command, open_store
from crackdet.core.console import escape_markup
from crackdet.core.errors import UserError

By = Annotated[str, typer.Option(help="Rank by accuracy, f1, recall, precision or roc_auc.")]


@command
def summary(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder, or a run store.")] = STORE,
    write: Annotated[Path | None, typer.Option(help="Write summary.json and summary.csv into this folder.")] = None,
    top: Annotated[int, typer.Option(min=0, help="So many runs of each ranking; 0: all.")] = 30,
    by: By = "accuracy",
    sort: Annotated[str | None, typer.Option(help="Order the rows by a figure or setting; -KEY: turned.")] = None,
    columns: Annotated[str | None, typer.Option(help="Show these, e.g. run,differs,accuracy,seed.")] = None,
    filters: Annotated[list[str] | None, typer.Option("--filter", help="Rows with e.g. 'f1>0.9'; repeatable.")] = None,
    recall: Annotated[float | None, typer.Option(help="The threshold that finds this share of the cracks.")] = None,
    test: Annotated[bool, typer.Option("--test", help="The winner's accuracy on the test split.")] = False,
    trust: Annotated[bool, typer.Option(help="With --test: import a network from outside crackdet.")] = False,
) -> None:
    """The runs of a sweep or of a store, the best first, and which to take."""
    from crackdet.analysis.ranking import summarize
    from crackdet.analysis.search_results import show_search
    from crackdet.analysis.tables import View, show_test, show_threshold
    from crackdet.analysis.test_split import read_test_result
    from crackdet.core.garbage_collector import gc_disabled

    if recall is not None and not 0 < recall <= 1:
        raise UserError(f"--recall {recall}: must be a share of the cracks, above 0 and at most 1")
    if test:
        from crackdet.inference.evaluation import evaluate_test
    names = [name.strip() for name in columns.split(",")] if columns else []
    missing: list[str] = []
    with gc_disabled():
        found = summarize(folder, by)
        found.show(View(top, sort, names, filters or []))
        for decision in found.decisions:
            if decision is not None and recall is not None:
                show_threshold(decision, recall)
            if decision is not None:
                winner = decision.best.run
                try:
                    if tested := evaluate_test(winner, trust) if test else read_test_result(winner):
                        show_test(winner, tested)
                except UserError as error:
                    missing.append(f"--test: {winner.id}: {error}")
        show_search(folder)
        if write is not None:
            found.write(write)
        if missing:
            raise UserError("\n".join(missing))
        gc.freeze()  # what was read is not looked at when the process ends either


@command
def report(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder, or a run store.")] = STORE,
    to: Annotated[Path | None, typer.Option(help="The file to write; report.html in FOLDER if not given.")] = None,
    by: By = "accuracy",
) -> None:
    """Writes the runs of a sweep or of a store as one HTML page, to look at and to send round."""
    from crackdet.report.build import write_report

    print(f"report {write_report(folder, to, by)}")


@command
def runs(store: Store = STORE) -> None:
    """All runs of the store, with their status."""
    from crackdet.analysis.rows import RunRow, differing_keys
    from crackdet.analysis.tables import console, describe

    entries = [RunRow(run.snapshot()) for run in open_store(store).runs()]
    keys = differing_keys(entries)
    table = Table("run", "status", "accuracy", "epochs", "what differs")
    for entry in entries:
        accuracy = f"{entry.accuracy:.4f}" if entry.result else ""
        epochs = str(entry.result.get("epochs", "")) if entry.result else str(len(entry.snapshot.history) or "")
        table.add_row(entry.id, str(entry.status), accuracy, epochs, escape_markup(describe(entry, keys)))
    console().print(table)


@command
def watch(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder, or a run store.")] = STORE,
    once: Annotated[bool, typer.Option("--once", help="Show the runs as they are now, and leave.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
) -> None:
    """The runs live: those at work with epoch, accuracy and time left, what has ended, the best. Ctrl-C leaves."""
    from crackdet.watch.live import watch as show_live

    show_live(folder, once, every)


@command
def show(run: RunName, store: Store = STORE) -> None:
    """One run: status, result, settings, history."""
    from crackdet.analysis.tables import console
    from crackdet.config.schema import flatten

    found = chosen(run, store).snapshot()
    out = console()
    out.print(f"{found.id}: {found.status} in {escape_markup(found.run.directory)}", highlight=False, soft_wrap=True)
    if found.failure and found.result is None:
        out.print(escape_markup(found.failure.get("reason")), highlight=False, soft_wrap=True)
    for title, values in (
        ("result", {k: v for k, v in (found.result or {}).items() if k not in ("files", "settings", "identity")}),
        ("configuration", flatten(found.config)),
        ("provenance", flatten(found.provenance)),
    ):
        if values:
            table = Table(title, "", box=None)
            for key, value in values.items():
                table.add_row(escape_markup(key), escape_markup(value))
            out.print(table)
    if found.history:
        names = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_f1", "learning_rate")
        table = Table(*names)
        for row in found.history:
            table.add_row(*(_short(row.get(name, "")) for name in names))
        out.print(table)


def _short(text: str | None) -> str:
    if text is None:  # a row that was cut short
        return ""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return escape_markup(text)
