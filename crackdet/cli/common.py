"""The `crackdet` application, and the options and functions that its commands share."""

import functools
import json
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from crackdet.cli.completion import STORE, complete_folder, complete_run, one_of
from crackdet.core.console import exit_with_error, has_bar, sanitize
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.interrupts import interruptible
from crackdet.core.output import output_error
from crackdet.store.run import Run
from crackdet.store.run_folder import RunFolder

HELP = "Compare, inspect, use and clean up the runs of a store, and check data."
SPLITS = ("train", "valid", "test")

log = logging.getLogger(__name__)
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=HELP)

RunName = Annotated[
    str,
    typer.Argument(
        help="A run: its id or the beginning of its id, best, best:FOLDER, last, or the path of its directory.",
        autocompletion=complete_run,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Argument(help=f"A run store or a sweep's folder; default {STORE}.", autocompletion=complete_folder),
]
Store = Annotated[
    Path | None,
    typer.Option("--store", help=f"A run store or a sweep's folder; default {STORE}.", autocompletion=complete_folder),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:N or mps.", autocompletion=one_of("auto", "cpu", "cuda", "mps")),
]
Trust = Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


class _StderrHandler(logging.Handler):
    """Writes log messages to standard error, away from the output of the command."""

    def emit(self, record: logging.LogRecord) -> None:
        if not has_bar(record):
            print(sanitize(self.format(record)), file=sys.stderr)


@functools.cache
def _configure_logging() -> None:
    log = logging.getLogger("crackdet")
    log.addHandler(_StderrHandler())
    log.setLevel(logging.INFO)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print(f"crackdet {version('crackdet')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


main.__doc__ = HELP


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a subcommand named after the function; report user errors as one message and exit status 2."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        _configure_logging()
        try:
            with interruptible():
                function(*arguments, **options)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            raise typer.Exit(130) from None
        except (UserError, OSError, ValueError) as error:
            exit_with_error(str(error))
        if output_error() is not None:  # it has been reported
            raise typer.Exit(1)

    return app.command()(guarded)


def choose_folder(folder: Path | None, store: Path | None) -> Path:
    """Return the folder of a command, given as an argument or as `--store`; raise UserError if both are given."""
    if folder is not None and store is not None:
        raise UserError(f"{folder}, --store {store}: give only one folder")
    return expand_home(folder or store or STORE)


def open_folder(folder: Path | None, store: Path | None = None) -> RunFolder:
    """Open the folder of a command; raise UserError if there is none."""
    return RunFolder.open(choose_folder(folder, store), "--store " if store is not None else "")


def find_run(name: str, store: Path | None) -> Run:
    """Return the run that a user names, and say which run `best` or `last` is; raise UserError if there is none."""
    return _find_run(name, store, lambda run: None)


def find_network(name: str, store: Path | None, trust: bool, licenses: Sequence[str] = ()) -> Run:
    """As `find_run`; raise UserError also if the network of the run cannot be loaded. Does not import torch.

    Args:
        licenses: That the initial weights of `best` may have; empty: any.
    """
    from crackdet.inference.loaded_run import check_loadable

    return _find_run(name, store, lambda run: check_loadable(run, trust), licenses)


def _find_run(name: str, store: Path | None, check: Callable[[Run], None], licenses: Sequence[str] = ()) -> Run:
    from crackdet.analysis.run_names import resolve_run

    named = resolve_run(name, choose_folder(None, store), "--store " if store is not None else "", licenses)
    check(named.run)
    if named.note:
        log.info("%s", named.note)
    return named.run


def check_choice(option: str, value: str, allowed: Sequence[str]) -> None:
    """Raise UserError if the value of an option is none of those allowed."""
    if value not in allowed:
        raise UserError(f"{option} {value}: must be one of {', '.join(allowed)}")


def check_split(value: str, *more: str) -> None:
    """Raise UserError if the value of `--split` is neither a split nor one of `more`."""
    *first, last = *SPLITS, *more
    if value not in (*first, last):
        raise UserError(f"--split {value}: must be {', '.join(first)} or {last}")


def print_json(content: object) -> None:
    """Print JSON; values that JSON lacks (NaN, infinity) become null."""
    print(json.dumps(_plain(content), indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)
