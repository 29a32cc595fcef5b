"""Overrides -> configuration, outside of `train.py`; and what Hydra complains of, in crackdet's words."""

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.messages import GROUP, allowed, nearest
from crackdet.config.parsing import parse, register
from crackdet.config.schema import GROUPS, TRACKERS, Config, Model
from crackdet.core.errors import UserError

CONF = Path(__file__).parents[2] / "conf"


def compose(overrides: Sequence[str]) -> Config:
    """The configuration that `python train.py OVERRIDES` would train.

    Raises:
        UserError: where it is not valid.
    """
    register()
    try:
        with initialize_config_dir(str(CONF)):
            return parse(hydra_compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra_error(error)) from None


def explain_hydra_error(error: BaseException) -> str:
    """What Hydra or OmegaConf complain of, with the key, the value and what is allowed."""
    text = str(error).strip()
    if isinstance(error, OverrideParseException):
        key = str(error.override).partition("=")[0]
        return (
            f"{error.override}: {text.splitlines()[0]}; a value with umlauts, brackets or other marks needs quotes "
            f"of its own within those of the shell: \"{key}='VALUE'\""
        )
    if match := re.search(r"Error merging override (\S+?)=(.*)", text):
        key, value = match.group(1).lstrip("+~"), match.group(2)
        if limits := allowed(key):
            choice = f"; one is chosen by {key.replace('.', '/')}={value}" if limits == GROUP else ""
            return f"{key}={value}: must be {limits}{choice}"
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
    tracker, _, setting = name.partition(".")
    if group == "tracker" and tracker in TRACKERS:
        names = [item.name for item in fields(TRACKERS[tracker])]
        return f"; it belongs to tracker={tracker}" if setting in names else nearest(setting, names)
    if not name or not options:
        return nearest(group, [item.name for item in fields(Config)])
    owners = [option for option, schema in options.items() if name in {item.name for item in fields(schema)}]
    if owners:
        return f"; it belongs to {' or '.join(f'{group}={option}' for option in owners)}"
    return nearest(name, [item.name for schema in options.values() for item in fields(schema)])
