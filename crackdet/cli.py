"""`crackdet`: everything that reads the run store, and looks at data."""

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from crackdet.console import harmless, plain
from crackdet.errors import UserError
from crackdet.store import RunStore

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

RunName = Annotated[str, typer.Argument(help="A run id or its beginning, best, or best:FOLDER of a sweep.")]
Store = Annotated[Path, typer.Option("--store", help="The run store.")]
STORE = Path("outputs/runs")


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a subcommand; what the user got wrong is one message and exit status 2."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except (UserError, OSError, ValueError) as error:
            print(f"error: {harmless(error)}", file=sys.stderr)
            raise typer.Exit(2) from None

    return app.command()(guarded)


@command
def summary(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder, or a run store.")] = STORE,
    write: Annotated[Path | None, typer.Option(help="Write summary.json and summary.csv into this folder.")] = None,
    top: Annotated[int, typer.Option(min=0, help="So many runs of each ranking; 0: all.")] = 30,
) -> None:
    """The runs of a sweep or of a store, the best first."""
    from crackdet.summary import summarise
    from crackdet.summary.search import show_search

    found = summarise(folder)
    found.show(top)
    show_search(folder)
    if write is not None:
        found.write(write)


@command
def runs(store: Store = STORE) -> None:
    """All runs of the store, with their status."""
    from crackdet.summary.entries import differing, read_entry
    from crackdet.summary.table import console, describe

    entries = [read_entry(run) for run in _store(store).runs()]
    keys = differing(entries)
    table = Table("run", "status", "accuracy", "epochs", "what differs")
    for entry in entries:
        accuracy = f"{entry.accuracy:.4f}" if entry.result else ""
        epochs = str(entry.result.get("epochs", "")) if entry.result else str(len(entry.run.history) or "")
        table.add_row(entry.id, str(entry.status), accuracy, epochs, plain(describe(entry, keys)))
    console().print(table)


@command
def show(run: RunName, store: Store = STORE) -> None:
    """One run: status, result, settings, history."""
    from crackdet.schema import flatten
    from crackdet.summary import pick
    from crackdet.summary.table import console

    found = pick(run, _store(store))
    out = console()
    out.print(f"{found.id}: {found.status()} in {plain(found.directory)}", highlight=False, soft_wrap=True)
    if found.failure and found.result is None:
        out.print(plain(found.failure.get("reason")), highlight=False, soft_wrap=True)
    for title, values in (
        ("result", {k: v for k, v in (found.result or {}).items() if k not in ("files", "settings", "identity")}),
        ("configuration", flatten(found.config)),
        ("provenance", flatten(found.provenance)),
    ):
        if values:
            table = Table(title, "", box=None)
            for key, value in values.items():
                table.add_row(plain(key), plain(value))
            out.print(table)
    if found.history:
        names = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_f1", "learning_rate")
        table = Table(*names)
        for row in found.history:
            table.add_row(*(_short(row.get(name, "")) for name in names))
        out.print(table)


@command
def rm(
    run: RunName,
    store: Store = STORE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Deletes a run with its weights and its result."""
    from crackdet.summary import pick

    where = _store(store)
    found = pick(run, where)
    if yes or typer.confirm(f"delete {found.directory}?"):
        where.remove(found)
        print(f"deleted {found.id}")


@command
def clean(
    store: Store = STORE,
    keep_weights: Annotated[str, typer.Option(help="all, best:NUMBER or none.")] = "all",
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
) -> None:
    """Shows, or deletes, what no result needs: states of finished runs, spare weights, leftovers."""
    from crackdet.clean import removable, remove
    from crackdet.summary.table import console

    if not re.fullmatch(r"all|none|best:[1-9][0-9]*", keep_weights):
        raise UserError(f"--keep-weights {keep_weights}: must be all, none or best:NUMBER")
    items = removable(_store(store), keep_weights)
    table = Table("file", "why", "MiB")
    for item in items:
        table.add_row(plain(item.path), item.why, f"{item.size / 2**20:.1f}")
    console().print(table)
    total = sum(item.size for item in items) / 2**20
    if yes:
        print(f"deleted {len(remove(items))} of {len(items)} files, {total:.1f} MiB")
    else:
        print(f"{len(items)} files, {total:.1f} MiB; --yes deletes them")


@command
def evaluate(
    run: RunName,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other data, as for train.py: data=folder data.root=...")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "valid",
    store: Store = STORE,
    trust: Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")] = False,
) -> None:
    """The measures of a run's weights on its own data, or on other data."""
    from crackdet.evaluation import evaluate as measured
    from crackdet.evaluation import other_data
    from crackdet.summary import pick

    if split not in ("train", "valid", "test"):
        raise UserError(f"--split {split}: must be train, valid or test")
    found = pick(run, _store(store))
    metrics, images = measured(found, other_data(found, overrides) if overrides else None, split, trust)
    values = ", ".join(f"{name} {value:.4f}" for name, value in asdict(metrics).items())
    print(f"{found.id} on {len(images)} {images.pixels.source.name} images, {split} split: {values}")


@command
def data(
    overrides: Annotated[list[str] | None, typer.Argument(help="As for train.py: data=folder data.root=...")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Draw a contact sheet into this PNG file.")] = None,
) -> None:
    """Checks a data source: decodes every image, counts the splits, and draws a contact sheet."""
    from crackdet.compose import compose
    from crackdet.data import data_fingerprint, load_splits
    from crackdet.data.sheet import contact_sheet
    from crackdet.summary.table import console

    config = compose(overrides or [])
    splits = load_splits(config.data, config.runtime)
    table = Table("split", "cracks", "no cracks")
    for name, images in splits.items():
        cracks = sum(images.labels)
        table.add_row(name, str(cracks), str(len(images) - cracks))
    console().print(table)
    print(f"fingerprint {data_fingerprint(config.data, config.runtime)}")
    if sheet is not None:
        contact_sheet(splits["train"]).save(sheet)
        print(f"contact sheet {sheet}")


def _store(path: Path) -> RunStore:
    if not path.is_dir():
        raise UserError(f"--store {path}: there is no such folder; train.py makes it (runtime.store)")
    return RunStore(path)


def _short(text: str) -> str:
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return plain(text)
