"""The entry point of `train.py`: runs Hydra, and prints each refused command as one message with exit status 2."""

import errno
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.composing import explain_hydra_error
from crackdet.core.console import exit_with_error
from crackdet.core.errors import RunFailed, UserError
from crackdet.core.signals import Interrupted
from crackdet.sweep.callback import finalize_foreign_sweeps, foreign_sweeps
from crackdet.sweep.command_line import acceptable_arguments

MISSING_LAUNCHER = re.compile(r"Unknown plugin class : 'hydra_plugins\.hydra_(joblib|submitit|ray)_launcher\.")
EXTRAS = {"joblib": "joblib", "submitit": "slurm", "ray": "ray"}  # extras of crackdet that install the launchers
OWN_SWEEPERS_HINT = (
    "; this sweeper applies it to every option. hydra/sweeper=crackdet, the default of -m, and crackdet_optuna apply "
    "it only to the options that have it"
)
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}


def run_hydra(hydra_main: Callable[[], Any]) -> None:
    """Run a Hydra program; print what the user got wrong without a traceback."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        with acceptable_arguments():
            hydra_main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    try:
        with acceptable_arguments():
            hydra_main()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        message = str(error) if isinstance(error, UserError) else explain_hydra_error(error)
        if foreign_sweeps and "it belongs to" in message:
            message += OWN_SWEEPERS_HINT
        finalize_foreign_sweeps(1)
        exit_with_error(message)
    except RuntimeError as error:
        if missing := MISSING_LAUNCHER.search(str(error)):
            name, extra = missing[1], EXTRAS[missing[1]]
            exit_with_error(f"hydra/launcher: {name} is not installed; uv pip install -e '.[{extra}]' installs it")
        raise
    except ValueError as error:
        if "Config group override" in str(error):  # Hydra's, of trainer=5
            exit_with_error(f"the value of a config group must be one of its options, as in model=custom ({error})")
        finalize_foreign_sweeps(1)  # hydra/sweeper=optuna raises ValueError if every trial failed
        raise
    except RunFailed:  # Hydra's basic sweeper stops at the first failure
        finalize_foreign_sweeps(1)
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader has closed standard output, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        raise SystemExit(1) from None
    except OSError as error:  # of Hydra's own folder: errors in a run directory are handled there
        if error.errno not in UNWRITABLE:
            raise
        finalize_foreign_sweeps(1)
        path = error.filename or "the folder of Hydra's logs"
        exit_with_error(f"{path}: cannot be written ({error.strerror}); make room, or set another hydra.run.dir")
    except Interrupted as stop:
        finalize_foreign_sweeps(stop.exit_status)
        raise SystemExit(stop.exit_status) from None
    except KeyboardInterrupt:  # before or after training: during training the run reports that it is saved
        print("stopped; the same command resumes", file=sys.stderr)
        finalize_foreign_sweeps(130)
        raise SystemExit(130) from None
