"""The application, and what its commands share."""

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from crackdet.core.console import has_bar, sanitize
from crackdet.core.errors import UserError
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

HELP = "Everything that reads the run store, and looks at data."

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)

RunName = Annotated[str, typer.Argument(help="A run id or its beginning, best, or best:FOLDER of a sweep.")]
Store = Annotated[Path, typer.Option("--store", help="The run store.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that exist.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
STORE = Path("outputs/runs")


class _OnStandardError(logging.Handler):
    """What crackdet has to say beside a command's result."""

    def emit(self, record: logging.LogRecord) -> None:
        if not has_bar(record):
            print(sanitize(self.format(record)), file=sys.stderr)


@functools.cache
def _speak() -> None:
    log = logging.getLogger("crackdet")
    log.addHandler(_OnStandardError())
    log.setLevel(logging.INFO)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a subcommand; what the user got wrong is one message and exit status 2."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        _speak()
        try:
            function(*arguments, **options)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise  # whoever read the output has had enough: typer knows
        except (UserError, OSError, ValueError) as error:
            print(f"error: {sanitize(error)}", file=sys.stderr)
            raise typer.Exit(2) from None

    return app.command()(guarded)


def chosen(name: str, store: Path) -> Run:
    """The run that a user means; before anything is imported that takes seconds.

    Raises:
        UserError: where none or several are meant.
    """
    from crackdet.analysis.ranking import resolve_run

    return resolve_run(name, open_store(store))


def open_store(path: Path) -> RunStore:
    """The run store in a folder.

    Raises:
        UserError: where there is no such folder.
    """
    if not path.is_dir():
        raise UserError(f"--store {path}: there is no such folder; train.py makes it (runtime.store)")
    return RunStore(path)
