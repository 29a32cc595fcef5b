"""The `crackdet` application, and the options and functions that its commands share."""

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from crackdet.core.console import exit_with_error, has_bar, sanitize
from crackdet.core.errors import UserError
from crackdet.core.interrupts import interruptible
from crackdet.core.output import output_error
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

HELP = "Compare, inspect, use and clean up the runs of a store, and check data."

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)

RunName = Annotated[str, typer.Argument(help="A run id or its prefix, best, or best:FOLDER for the best of a sweep.")]
Store = Annotated[Path, typer.Option("--store", help="The run store.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Trust = Annotated[bool, typer.Option("--trust", help="Import the user's class that the run names.")]
STORE = Path("outputs/runs")


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


def find_run(name: str, store: Path) -> Run:
    """Return the run that a user names, or raise UserError; call it before imports that take seconds."""
    from crackdet.analysis.ranking import resolve_run

    return resolve_run(name, open_store(store))


def open_store(path: Path) -> RunStore:
    """Return the run store in a folder; raise UserError if there is no such folder."""
    if not path.is_dir():
        raise UserError(f"--store {path}: no such folder; train.py creates it (runtime.store)")
    return RunStore(path)
