"""Commands that show runs."""

import gc
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from crackdet.cli.common import (
    AsJson,
    Folder,
    RunName,
    Store,
    check_choice,
    choose_folder,
    command,
    find_run,
    open_folder,
    print_json,
)
from crackdet.cli.completion import one_of, several_of
from crackdet.core.console import escape_markup
from crackdet.core.errors import UserError
from crackdet.core.licenses import parse_licenses
from crackdet.core.output_paths import check_new_folder, check_output_path
from crackdet.store.snapshot import Status

if TYPE_CHECKING:
    from crackdet.analysis.rows import RunRow

METRICS = ("accuracy", "f1", "recall", "precision", "roc_auc")
By = Annotated[
    str, typer.Option(help="Rank by accuracy, f1, recall, precision or roc_auc.", autocompletion=one_of(*METRICS))
]
License = Annotated[
    str | None,
    typer.Option(help="Only runs whose initial weights have one of these licenses, e.g. MIT,Apache-2.0,BSD-3-Clause."),
]


@command
def summary(
    folder: Folder = None,
    write: Annotated[Path | None, typer.Option(help="Write summary.json and summary.csv into this folder.")] = None,
    top: Annotated[int, typer.Option(min=0, help="Number of rows of each ranking; 0 shows all.")] = 30,
    by: By = "accuracy",
    sort: Annotated[str | None, typer.Option(help="Sort the rows by a metric or setting; -KEY reverses.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to show, e.g. run,differs,accuracy,seed.")] = None,
    license: License = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="Show matching runs only, e.g. 'f1>0.9'; repeatable.")
    ] = None,
    recall: Annotated[float | None, typer.Option(help="Print the threshold that finds this share of cracks.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Evaluate the best run on the test split.")] = False,
    trust: Annotated[bool, typer.Option(help="With --test: import a network from outside crackdet.")] = False,
    as_json: AsJson = False,
    store: Store = None,
) -> None:
    """Rank the runs of a sweep or store, and recommend one."""
    from crackdet.analysis.ranking import summarize
    from crackdet.analysis.search_results import show_search
    from crackdet.analysis.tables import View, show_test, show_threshold
    from crackdet.analysis.test_split import read_test_result
    from crackdet.core.machine import gc_disabled

    if recall is not None and not 0 < recall <= 1:
        raise UserError(f"--recall {recall}: must be a share of the cracks, above 0 and at most 1")
    if as_json and (sort or columns or filters or recall or test):
        raise UserError(
            "--json: prints all runs and fields, as in summary.json; remove the options that select runs or fields"
        )
    if write is not None:
        check_new_folder(write, "--write", may_exist=True)
    path = choose_folder(folder, store)
    names = [name.strip() for name in columns.split(",")] if columns else []
    errors: list[str] = []
    with gc_disabled():
        found = summarize(path, by, parse_licenses(license))
        if as_json:
            print_json(found.content())
        else:
            found.show(View(top, sort, names, filters or []))
        if test and found.rankings:
            from crackdet.inference.evaluation import evaluate_test
        for decision in [] if as_json else found.decisions:
            if recall is not None:
                show_threshold(decision, recall)
            best = decision.best.run
            try:
                if tested := evaluate_test(best, trust) if test else read_test_result(best):
                    show_test(best, tested)
            except UserError as error:
                errors.append(f"--test: {best.id}: {error}")
        if not as_json:
            show_search(path)
        if write is not None:
            found.write(write)
        if errors:
            raise UserError("\n".join(errors))
        gc.freeze()  # no collection of the summary when the process ends


@command
def report(
    folder: Folder = None,
    to: Annotated[Path | None, typer.Option(help="File to write; default: report.html in FOLDER.")] = None,
    by: By = "accuracy",
    license: License = None,
    show_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is not a report of crackdet.")] = False,
    store: Store = None,
) -> None:
    """Write the runs of a sweep or store as one HTML page."""
    from crackdet.report.marker import FILE, is_report

    check_choice("--by", by, METRICS)
    licenses = parse_licenses(license)
    path = choose_folder(folder, store)
    open_folder(folder, store)
    target = to or path / FILE
    if target.is_file() and not force and not is_report(target):
        question = f"{target}: is not a report of crackdet; overwrite it?"
        if not (sys.stdin.isatty() and typer.confirm(question)):
            raise UserError(f"{target}: is not a report of crackdet; give another file with --to, or --force")
    check_output_path(target, force=True, option="--to" if to else "report")
    from crackdet.report.build import write_report

    print(f"report {write_report(path, target, by, licenses)}")
    if show_page and not webbrowser.open(target.resolve().as_uri()):
        raise UserError(f"--open: no browser could be started; open {target} yourself")


@command
def runs(
    folder: Folder = None,
    status: Annotated[
        str | None,
        typer.Option(
            help="List only runs with this status; separate several with commas: failed,corrupt.",
            autocompletion=several_of(*Status),
        ),
    ] = None,
    license: License = None,
    as_json: AsJson = False,
    store: Store = None,
) -> None:
    """List the runs of a store or sweep with their status."""
    from crackdet.analysis.differences import Differences
    from crackdet.analysis.licenses import with_license
    from crackdet.analysis.rows import RunRow
    from crackdet.analysis.tables import console, shown_id

    wanted = [word.strip() for word in status.split(",")] if status is not None else list(Status)
    for word in wanted:
        check_choice("--status", word, list(Status))
    licenses = parse_licenses(license)
    opened = open_folder(folder, store)
    rows, note = with_license((RunRow(run.snapshot(), opened.overrides.get(run.id)) for run in opened.runs()), licenses)
    differences = Differences(rows)
    counts = {word.value: number for word in Status if (number := sum(row.status is word for row in rows))}
    rows = [row for row in rows if row.status in wanted]
    if as_json:
        listed = [_listed(row, {key: row.setting(key) for key in differences.keys}) for row in rows]
        print_json({"store": opened.store.root, "counts": counts, "runs": listed})
        return
    out = console()
    table = Table(Column("run", no_wrap=True), "status", "accuracy", "epochs", "what differs")
    for row in rows:
        accuracy = f"{row.accuracy:.4f}" if row.result else ""
        epochs = str(row.result.get("epochs", "")) if row.result else str(len(row.snapshot.history) or "")
        about = row.snapshot.corruption or differences.describe(row)
        table.add_row(shown_id(row.id, out.width), str(row.status), accuracy, epochs, escape_markup(about))
    out.print(table)
    if note:
        print(note)
    shown = f"{len(rows)} of " if status is not None else ""
    total = sum(counts.values())
    counted = ", ".join(f"{number} {word}" for word, number in counts.items())
    print(f"{shown}{total} run{'s' * (total != 1)}{': ' * bool(counted)}{counted}")


def _listed(row: "RunRow", settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": str(row.status),
        "accuracy": row.result.get("accuracy"),
        "epochs": row.result["epochs"] if "epochs" in row.result else len(row.snapshot.history),
        "overrides": list(row.overrides),
        "settings": settings,
        "reason": row.reason or None,
    }


@command
def watch(
    folder: Folder = None,
    once: Annotated[bool, typer.Option("--once", help="Show the present state and exit.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between updates.")] = 1.0,
    store: Store = None,
) -> None:
    """Show progress live: running jobs with epoch, accuracy and time left, ended runs, the best run. Ctrl-C exits."""
    from crackdet.watch.live import watch as show_live

    show_live(open_folder(folder, store).path, once, every)


@command
def show(
    run: RunName,
    everything: Annotated[
        bool, typer.Option("--all", help="Show all settings, the provenance and the history.")
    ] = False,
    as_json: AsJson = False,
    store: Store = None,
) -> None:
    """Show one run in a few lines; --all shows everything that is stored about it."""
    from crackdet.analysis.run_details import run_content, show_run

    found = find_run(run, store).snapshot()
    if as_json:
        print_json(run_content(found))
    else:
        show_run(found, everything)
