"""Commands that show runs."""

import gc
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from crackdet.cli.common import STORE, RunName, Store, command, find_run, open_store
from crackdet.core.console import escape_markup
from crackdet.core.errors import UserError

Folder = Annotated[Path, typer.Argument(help="A sweep's folder or a run store.")]
By = Annotated[str, typer.Option(help="Rank by accuracy, f1, recall, precision or roc_auc.")]


@command
def summary(
    folder: Folder = STORE,
    write: Annotated[Path | None, typer.Option(help="Write summary.json and summary.csv into this folder.")] = None,
    top: Annotated[int, typer.Option(min=0, help="Number of rows of each ranking; 0 shows all.")] = 30,
    by: By = "accuracy",
    sort: Annotated[str | None, typer.Option(help="Sort the rows by a metric or setting; -KEY reverses.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to show, e.g. run,differs,accuracy,seed.")] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="Show matching runs only, e.g. 'f1>0.9'; repeatable.")
    ] = None,
    recall: Annotated[float | None, typer.Option(help="Print the threshold that finds this share of cracks.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Evaluate the best run on the test split.")] = False,
    trust: Annotated[bool, typer.Option(help="With --test: import a network from outside crackdet.")] = False,
) -> None:
    """Rank the runs of a sweep or store, and recommend one."""
    from crackdet.analysis.ranking import summarize
    from crackdet.analysis.search_results import show_search
    from crackdet.analysis.tables import View, show_test, show_threshold
    from crackdet.analysis.test_split import read_test_result
    from crackdet.core.machine import gc_disabled

    if recall is not None and not 0 < recall <= 1:
        raise UserError(f"--recall {recall}: must be a share of the cracks, above 0 and at most 1")
    if test:
        from crackdet.inference.evaluation import evaluate_test
    names = [name.strip() for name in columns.split(",")] if columns else []
    errors: list[str] = []
    with gc_disabled():
        found = summarize(folder, by)
        found.show(View(top, sort, names, filters or []))
        for decision in found.decisions:
            if recall is not None:
                show_threshold(decision, recall)
            best = decision.best.run
            try:
                if tested := evaluate_test(best, trust) if test else read_test_result(best):
                    show_test(best, tested)
            except UserError as error:
                errors.append(f"--test: {best.id}: {error}")
        show_search(folder)
        if write is not None:
            found.write(write)
        if errors:
            raise UserError("\n".join(errors))
        gc.freeze()  # no collection of the summary when the process ends


@command
def report(
    folder: Folder = STORE,
    to: Annotated[Path | None, typer.Option(help="File to write; default: report.html in FOLDER.")] = None,
    by: By = "accuracy",
) -> None:
    """Write the runs of a sweep or store as one HTML page."""
    from crackdet.report.build import write_report

    print(f"report {write_report(folder, to, by)}")


@command
def runs(store: Store = STORE) -> None:
    """List all runs of the store with their status."""
    from crackdet.analysis.differences import Differences
    from crackdet.analysis.rows import RunRow
    from crackdet.analysis.tables import console

    rows = [RunRow(run.snapshot()) for run in open_store(store).runs()]
    differences = Differences(rows)
    table = Table("run", "status", "accuracy", "epochs", "what differs")
    for row in rows:
        accuracy = f"{row.accuracy:.4f}" if row.result else ""
        epochs = str(row.result.get("epochs", "")) if row.result else str(len(row.snapshot.history) or "")
        about = row.snapshot.corruption or differences.describe(row)
        table.add_row(row.id, str(row.status), accuracy, epochs, escape_markup(about))
    console().print(table)


@command
def watch(
    folder: Folder = STORE,
    once: Annotated[bool, typer.Option("--once", help="Show the present state and exit.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between updates.")] = 1.0,
) -> None:
    """Show progress live: running jobs with epoch, accuracy and time left, ended runs, the best run. Ctrl-C exits."""
    from crackdet.watch.live import watch as show_live

    show_live(folder, once, every)


@command
def show(
    run: RunName,
    store: Store = STORE,
    everything: Annotated[
        bool, typer.Option("--all", help="Show all settings, the provenance and the history.")
    ] = False,
) -> None:
    """Show one run in a few lines; --all shows everything that is stored about it."""
    from crackdet.analysis.run_details import show_run

    show_run(find_run(run, store).snapshot(), everything)
