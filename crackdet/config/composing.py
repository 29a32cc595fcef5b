"""Compose a configuration from overrides, without `train.py`; and rephrase Hydra's errors."""

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.groups import GROUPS, TRACKERS, register
from crackdet.config.messages import GROUP, describe_key, suggest
from crackdet.config.parsing import check_network_name, parse
from crackdet.config.schema import Config, Model
from crackdet.core.errors import UserError

CONF = Path(__file__).parents[2] / "conf"


def compose(overrides: Sequence[str]) -> Config:
    """Return the configuration that `python train.py OVERRIDES` trains.

    Raises:
        UserError: If it is not valid.
    """
    register()
    check_network_name(overrides)
    try:
        with initialize_config_dir(str(CONF)):
            return parse(hydra_compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra_error(error)) from None


def explain_hydra_error(error: BaseException) -> str:
    """Return an error of Hydra or OmegaConf on one line, with the key, the value and what is allowed."""
    text = str(error).strip()
    if isinstance(error, OverrideParseException):
        key = str(error.override).partition("=")[0]
        reason = next(line for line in text.splitlines() if not line.startswith("Error when parsing index"))
        return (
            f"{error.override}: {reason}; a value with brackets, umlauts or other special characters "
            f"needs quotes inside those of the shell: \"{key}='VALUE'\""
        )
    if match := re.search(r"Error merging override (\S+?)=(.*)", text):
        key, value = match.group(1).lstrip("+~"), match.group(2)
        if allowed := describe_key(key):
            hint = f"; choose an option with {key.replace('.', '/')}={value}" if allowed == GROUP else ""
            return f"{key}={value}: must be {allowed}{hint}"
    if (match := re.search(r"Could not override '([^']+)'", text)) and not match.group(1).startswith("hydra."):
        return f"{match.group(1)}: unknown key{_suggest_for_key(match.group(1))}"
    if match := re.search(r"Could not find '([^']+)'\s+Available options in '[^']+':\n((?:\t.*\n?)*)", text):
        group, _, option = match.group(1).rpartition("/")
        return f"{group}={option}: no such option; choose from {', '.join(match.group(2).split())}"
    if isinstance(error.__cause__, OmegaConfBaseException):
        text += f" ({str(error.__cause__).splitlines()[0]})"
    return " ".join(text.split())


def _suggest_for_key(key: str) -> str:
    """Return the end of a message about an unknown key: the option that has the key, or a similar key."""
    group, _, name = key.partition(".")
    options = GROUPS.get(group, {})
    if group == "model" and name in {item.name for item in fields(Model)}:
        return f"; use +{key}=VALUE, because the file of this network does not have it"
    tracker, _, setting = name.partition(".")
    if group == "tracker" and tracker in TRACKERS:
        names = [item.name for item in fields(TRACKERS[tracker])]
        return f"; it belongs to tracker={tracker}" if setting in names else suggest(setting, names)
    if not name or not options:
        return suggest(group, [item.name for item in fields(Config)])
    owners = [option for option, schema in options.items() if name in {item.name for item in fields(schema)}]
    if owners:
        return f"; it belongs to {' or '.join(f'{group}={option}' for option in owners)}"
    return suggest(name, [item.name for schema in options.values() for item in fields(schema)])
