"""The way into Hydra and out of it: a refused command is one clear message and exit status 2."""

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
from crackdet.sweep.callback import finish_all

NO_LAUNCHER = re.compile(r"Unknown plugin class : 'hydra_plugins\.hydra_(joblib|submitit|ray)_launcher\.")  # Hydra's
NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
EXTRAS = {"joblib": "joblib", "submitit": "slurm", "ray": "ray"}  # of crackdet, that bring these launchers


def start(hydra_main: Callable[[], Any]) -> None:
    """Runs a Hydra program; what the user got wrong is said without a traceback."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        hydra_main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes its errors on instead of printing them its way
    try:
        hydra_main()
    except UserError as error:
        finish_all(1)
        exit_with_error(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        finish_all(1)
        exit_with_error(explain_hydra_error(error))
    except RuntimeError as error:
        if missing := NO_LAUNCHER.search(str(error)):
            name = missing.group(1)
            exit_with_error(f"hydra/launcher: {name} is not installed; uv pip install -e '.[{EXTRAS[name]}]' brings it")
        raise
    except ValueError as error:
        if "Config group override" in str(error):  # Hydra's own, of trainer=5
            exit_with_error(f"a group takes the name of one of its options, as in model=custom ({error})")
        finish_all(1)  # of a search in which every trial failed
        raise
    except RunFailed:  # of Hydra's basic sweeper, which stops at the first
        finish_all(1)
        raise SystemExit(1) from None
    except BrokenPipeError:  # whoever read the output has had enough, as `head` does of --help
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
        raise SystemExit(1) from None
    except OSError as error:  # of Hydra's own folder: what befalls a run's directory is told where it is written
        if error.errno not in NO_PLACE:
            raise
        finish_all(1)
        place = error.filename or "the folder of Hydra's logs"
        exit_with_error(f"{place}: cannot be written ({error.strerror}); make room, or give another hydra.run.dir")
    except Interrupted as stop:
        finish_all(stop.exit_status)
        raise SystemExit(stop.exit_status) from None
    except KeyboardInterrupt:  # while nothing was trained: else the run says what becomes of it
        print("stopped; the same command goes on from here", file=sys.stderr)
        finish_all(130)
        raise SystemExit(130) from None
