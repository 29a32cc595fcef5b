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

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.composing import explain_hydra_error
from crackdet.core.console import exit_with_error, print_error
from crackdet.core.errors import RunFailed, UserError, WriteFailed
from crackdet.core.interrupts import interruptible
from crackdet.core.signals import Interrupted
from crackdet.sweep.callback import finalize_foreign_sweeps

MISSING_LAUNCHER = re.compile(r"Unknown plugin class : 'hydra_plugins\.hydra_(joblib|submitit|ray)_launcher\.")
EXTRAS = {"joblib": "joblib", "submitit": "slurm", "ray": "ray"}  # extras of crackdet that install the launchers
PACKAGE = Path(__file__).parents[1]
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
              errno.EFBIG}  # fmt: skip


def run_hydra(hydra_main: Callable[[], Any]) -> None:
    """Run a Hydra program; print what the user got wrong without a traceback."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        hydra_main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    try:
        with interruptible():
            hydra_main()
    except (UserError, WriteFailed) as error:
        _refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(explain_hydra_error(error))
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
    except OSError as error:
        if error.filename is None and error.errno not in UNWRITABLE:
            raise
        if _is_of_crackdet(error):  # not of Hydra's own folder
            _refuse(f"{error.filename or 'a file'}: cannot be used ({error.strerror})")
        path = error.filename or "the folder of Hydra's logs"
        _refuse(f"{path}: cannot be written ({error.strerror}); make room, or set another hydra.run.dir")
    except Interrupted as stop:
        finalize_foreign_sweeps(stop.exit_status)
        raise SystemExit(stop.exit_status) from None
    except KeyboardInterrupt:  # before or after training: during training the run reports that it is saved
        print("stopped; the same command resumes", file=sys.stderr)
        finalize_foreign_sweeps(130)
        raise SystemExit(130) from None


def _refuse(message: str) -> NoReturn:
    """Print why the command is refused, and the summary of what Hydra's own sweeper has trained; exit with status 2."""
    print_error(message)
    with suppress(UserError, OSError):  # the store may be gone
        finalize_foreign_sweeps(1)
    raise SystemExit(2)


def _is_of_crackdet(error: OSError) -> bool:
    """Return whether an error was raised below a function of crackdet, rather than by Hydra itself."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(Path(file).is_relative_to(PACKAGE) for file in files[1:])
