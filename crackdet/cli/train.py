"""The entry point of `train.py`: runs Hydra, and prints each refused command as one message with exit status 2."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.utils import env_override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.arguments import quote_home
from crackdet.config.config_files import CONF
from crackdet.config.groups import register
from crackdet.config.hydra_errors import explain_hydra_error
from crackdet.config.hydra_state import own_hydra
from crackdet.core.console import exit_with_error, print_error
from crackdet.core.errors import RunFailed, UserError, WriteFailed
from crackdet.core.files import write_error
from crackdet.core.interrupts import interruptible
from crackdet.core.signals import Interrupted
from crackdet.sweep.callback import finalize_foreign_sweeps, foreign_sweeps
from crackdet.sweep.command_line import acceptable_arguments

PACKAGE = Path(__file__).parents[1]
MISSING_LAUNCHER = re.compile(r"Unknown plugin class : 'hydra_plugins\.hydra_(joblib|submitit|ray)_launcher\.")
EXTRAS = {"joblib": "joblib", "submitit": "slurm", "ray": "ray"}  # extras of crackdet that install the launchers
OWN_SWEEPERS_HINT = (
    "; this sweeper applies it to every option. hydra/sweeper=crackdet, the default of -m, and crackdet_optuna apply "
    "it only to the options that have it"
)
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
              errno.EFBIG}  # fmt: skip


def run_hydra(hydra_main: Callable[[], Any]) -> None:
    """Run a Hydra program; print what the user got wrong without a traceback."""
    sys.argv[1:] = quote_home(sys.argv[1:])
    with own_hydra():
        register()
        _run(hydra_main)


def _run(hydra_main: Callable[[], Any]) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        with acceptable_arguments():
            hydra_main()
        return
    try:
        # Hydra raises its errors instead of printing them.
        with env_override({"HYDRA_FULL_ERROR": "1"}), interruptible(), acceptable_arguments():
            hydra_main()
    except (UserError, WriteFailed) as error:
        _refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(_explain(error))
    except UnicodeEncodeError:
        _refuse("a file or folder has a name that this locale cannot represent; set LC_ALL=C.UTF-8 or PYTHONUTF8=1")
    except RuntimeError as error:
        if missing := MISSING_LAUNCHER.search(str(error)):
            name, extra = missing[1], EXTRAS[missing[1]]
            exit_with_error(f"hydra/launcher: {name} is not installed; uv pip install -e '.[{extra}]' installs it")
        _refuse_or_raise(error)
    except RunFailed:  # Hydra's basic sweeper stops at the first failure
        finalize_foreign_sweeps(1)
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is None and error.errno not in UNWRITABLE:
            _refuse_or_raise(error)
        if _is_of_crackdet(error):  # not of Hydra's own folder
            _refuse(f"{error.filename or 'a file'}: cannot be used ({error.strerror})")
        if error.filename and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            _refuse(f"{write_error(Path(error.filename), error)}, or set another hydra.run.dir")
        path = error.filename or "the folder of Hydra's logs"
        _refuse(f"{path}: cannot be written ({error.strerror}); make room, or set another hydra.run.dir")
    except Interrupted as stop:
        finalize_foreign_sweeps(stop.exit_status)
        raise SystemExit(stop.exit_status) from None
    except KeyboardInterrupt:  # before or after training: during training the run reports that it is saved
        print("stopped; the same command resumes", file=sys.stderr)
        finalize_foreign_sweeps(130)
        raise SystemExit(130) from None
    except Exception as error:
        _refuse_or_raise(error)


def _refuse(message: str) -> NoReturn:
    """Print why the command is refused, and the summary of what Hydra's own sweeper has trained; exit with status 2."""
    print_error(message)
    with suppress(UserError, OSError):  # the store may be gone
        finalize_foreign_sweeps(1)
    raise SystemExit(2)


def _refuse_or_raise(error: Exception) -> NoReturn:
    """Refuse the command if Hydra raised an error outside of crackdet: overrides cause some that Hydra does not catch.

    Raises:
        Exception: The error, if crackdet or code that it has called raised it.
        SystemExit: Otherwise.
    """
    finalize_foreign_sweeps(1)  # hydra/sweeper=optuna raises ValueError if every trial failed
    if _is_of_crackdet(error):
        raise error
    exit_with_error(_explain(error))


def _is_of_crackdet(error: Exception) -> bool:
    """Return whether an error was raised below a function of crackdet, rather than by Hydra itself."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(Path(file).is_relative_to(PACKAGE) and file != __file__ for file in files)


def _explain(error: Exception) -> str:
    arguments = sys.argv[1:]
    values = zip(arguments, [*arguments[1:], ""], strict=True)
    folders = [Path(value) for flag, value in values if flag in ("--config-dir", "-cd")]
    folders += [Path(text.partition("=")[2]) for text in arguments if text.startswith("--config-dir=")]
    overrides = [text for text in arguments if text.startswith("~") or ("=" in text and not text.startswith("-"))]
    message = explain_hydra_error(error, overrides, [CONF, *folders])
    return message + OWN_SWEEPERS_HINT if foreign_sweeps and "it belongs to" in message else message
