"""The way into Hydra and out of it: a refused command is one clear message and exit status 2."""

import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config import GROUPS, Config, Model, allowed, nearest
from crackdet.console import harmless
from crackdet.errors import RunFailed, UserError
from crackdet.sweep.callback import finish_all
from crackdet.training.interrupt import Interrupted

REFUSED = 2


def start(hydra_main: Callable[[], Any]) -> None:
    """Runs a Hydra program; what the user got wrong is said without a traceback."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        hydra_main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes its errors on instead of printing them its way
    for module in ("optuna", "hydra_plugins.hydra_optuna_sweeper"):  # its names of 2022, on today's Optuna
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)
    try:
        hydra_main()
    except UserError as error:
        finish_all(1)
        refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        finish_all(1)
        refuse(explain(error))
    except ValueError as error:
        if "Config group override" in str(error):  # Hydra's own, of trainer=5
            refuse(f"a group takes the name of one of its options, as in model=custom ({error})")
        finish_all(1)  # of a search in which every trial failed
        raise
    except RunFailed:  # of Hydra's basic sweeper, which stops at the first
        finish_all(1)
        raise SystemExit(1) from None
    except Interrupted as stop:
        finish_all(stop.exit_status)
        raise SystemExit(stop.exit_status) from None
    except KeyboardInterrupt:
        finish_all(130)
        raise SystemExit(130) from None


def refuse(message: str) -> None:
    print(f"error: {harmless(message)}", file=sys.stderr)
    raise SystemExit(REFUSED)


def explain(error: BaseException) -> str:
    """What Hydra or OmegaConf complain of, with the key, the value and what is allowed."""
    text = str(error).strip()
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {text.splitlines()[0]}"
    if match := re.search(r"Error merging override (\S+?)=(.*)", text):
        key, value = match.group(1).lstrip("+~"), match.group(2)
        if limits := allowed(key):
            return f"{key}={value}: must be {limits}"
    if (match := re.search(r"Could not override '([^']+)'", text)) and not match.group(1).startswith("hydra."):
        return f"{match.group(1)}: unknown key{_belonging(match.group(1))}"
    if match := re.search(r"Could not find '([^']+)'\s+Available options in '[^']+':\n((?:\t.*\n?)*)", text):
        group, _, option = match.group(1).rpartition("/")
        return f"{group}={option}: no such option; there are {', '.join(match.group(2).split())}"
    if isinstance(error.__cause__, OmegaConfBaseException):
        text += f" ({str(error.__cause__).splitlines()[0]})"
    return " ".join(text.split())


def _belonging(key: str) -> str:
    """Where an unknown key would be right: under another option of its group, or spelled otherwise."""
    group, _, name = key.partition(".")
    options = GROUPS.get(group, {})
    if group == "model" and name in {item.name for item in fields(Model)}:
        return f"; say +{key}=VALUE, since the file of this network does not have it"
    if not name or not options:
        return nearest(group, [item.name for item in fields(Config)])
    owners = [option for option, schema in options.items() if name in {item.name for item in fields(schema)}]
    if owners:
        return f"; it belongs to {' or '.join(f'{group}={option}' for option in owners)}"
    return nearest(name, [item.name for schema in options.values() for item in fields(schema)])
