"""The errors of Hydra, OmegaConf and YAML as one message with the key, the value and what is allowed."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.config_files import CONF, explain_file_error, group_options
from crackdet.config.groups import GROUPS, TIMM
from crackdet.config.messages import GROUP, describe_key, shorten
from crackdet.config.overrides import explain_syntax, parse_overrides
from crackdet.config.synonyms import normalize, suggest_setting
from crackdet.config.timm_names import timm_names
from crackdet.core.errors import UserError

SEVERAL_VALUES = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'(?:\n| requires)", re.DOTALL)
NO_OPTION = re.compile(r"(?:In '([^']+)': )?Could not (?:find|load) '([^']+)'(?:\s+Available[^\n]*\n((?:\t.*\n?)*))?")
MERGED = re.compile(r"Error merging override (\S+?)=(.*)", re.DOTALL)
OVERRIDDEN = re.compile(r"Could not override '([^']+)'")


def explain_hydra_error(error: BaseException, overrides: Sequence[str] = (), folders: Sequence[Path] = (CONF,)) -> str:
    """Return an error of Hydra, OmegaConf or YAML on one line, with the key, the value and what is allowed.

    Args:
        error: Any error of composing; Hydra does not catch all of those that overrides cause.
        overrides: What was composed.
        folders: The configuration folders.
    """
    if isinstance(error, OverrideParseException):
        return explain_syntax(error.override, str(error))
    if isinstance(error.__cause__, UserError):  # Hydra wraps what it instantiates
        return str(error.__cause__)
    message = explain_file_error(error, folders) or _rephrase(error, overrides)
    if message := message or next(filter(None, map(_find_fault, overrides)), ""):
        return shorten(message, 1000)
    text = " ".join(str(error).split()) or "is not accepted"
    if isinstance(error.__cause__, OmegaConfBaseException):
        text += f" ({str(error.__cause__).splitlines()[0]})"
    suspects = _suspects(overrides) or ([] if isinstance(error, HydraException | OSError) else overrides)
    if not any(key in text for key in ("--", *(each.partition("=")[0].lstrip("+~") or "=" for each in overrides))):
        text = ": ".join(filter(None, (shorten(" ".join(suspects)), text)))
    return shorten(text, 1000)


def _suspects(overrides: Sequence[str]) -> Sequence[str]:
    """Return the overrides that most likely caused an error that names no key: settings of Hydra, then deletions."""
    hydra = [text for text in overrides if re.match(r"[+~]*hydra(?!\.(run|sweep)\.dir=)", text)]
    return hydra or [text for text in overrides if text.startswith("~")]


def _rephrase(error: BaseException, overrides: Sequence[str]) -> str:
    """Return a clearer text of an error that Hydra describes well; empty if there is none."""
    text = str(error).strip() or str(error.__cause__)
    cause = str(error.__cause__ or "").partition("\n")[0]
    if match := SEVERAL_VALUES.search(text):
        return f"{match[1]}: has several values; add -m for a sweep, or write a list with brackets: KEY=[1,2]"
    if match := MERGED.search(text):
        key, value = match[1].lstrip("+~"), match[2]
        if allowed := describe_key(key):
            group = key.replace(".", "/")
            option = value if value in group_options(group) else "OPTION"
            hint = f"; choose an option with {group}={option}" if allowed == GROUP else ""
            return f"{key}={shorten(value)}: must be {allowed}{hint}"
        return f"{key}={shorten(value)}: {cause or 'cannot be set'}"
    if match := re.search(r"Could not (delete|override) '([^']*)'. No match in the defaults list", text):
        sign = "~" if match[1] == "delete" else ""
        return (
            f"{sign}{match[2] or '='}: the defaults list has no such choice; the config groups are {', '.join(GROUPS)}"
        )
    if match := re.search(r"Multiple values for (\S+)\.", text):
        return (
            f"+{match[1]}: the group has an option already; give {match[1]}=OPTION without the +, or in a file "
            f"'override /{match[1]}: OPTION' in its defaults list"
        )
    if match := OVERRIDDEN.search(text):
        inner = re.search(r"Key '([^']+)'", cause)
        key = match[1] if inner is None or inner[1] in match[1].split(".") else f"{match[1]}.{inner[1]}"
        return f"{key}: unknown key{f' ({cause})' if key.startswith('hydra') else suggest_setting(key)}"
    if match := NO_OPTION.search(text):
        group, _, option = match[2].rpartition("/")
        options = (match[3] or "").split() or group_options(group)
        if not options:
            return f"{match[2]}: no such file in the configuration folders"
        given = any(each.endswith(f"={option}") for each in overrides)
        where = f"{match[1]}.yaml: " if match[1] and match[1] != "config" and not given else ""
        meant = _meant(group, option, options)
        return f"{where}{group}={option}: no such option; choose from {', '.join(options)}{meant}"
    if (match := re.search(r"full_key: (\S+)", text)) and (allowed := describe_key(match[1])):
        return f"{match[1]}: must be {allowed} ({text.partition(chr(10))[0]})"
    if match := re.search(r"An item is already at '([^']+)'", text):
        return f"+{match[1]}: the setting exists already; give {match[1]}=VALUE"
    return ""


def _meant(group: str, option: str, options: Sequence[str]) -> str:
    """Return the end of a message about an unknown option: the one that is meant, such as `adam` for `Adam`."""
    name = normalize(option)
    if group == "model" and name:
        from torchvision.models import list_models  # takes seconds

        networks = {normalize(network): network for network in list_models() if "/" not in network}
        if name in networks:
            return f"; give model=torchvision model.name={networks[name]}"
        of_timm = {normalize(network): network for network in timm_names()}
        if name in of_timm:
            return f"; give model={TIMM}{of_timm[name]}"
    contained = [each for each in options if normalize(each) in name]
    if meant := contained or difflib.get_close_matches(name, options, n=1):
        return f"; did you mean {group}={meant[0]}?"
    named = f"; for a network of torchvision, give model=torchvision model.name=NAME; of timm, model={TIMM}NAME"
    return named if group == "model" else ""


def _find_fault(text: str) -> str:
    """Return what is wrong with the value of an override that Hydra does not check; empty if nothing is found."""
    try:
        (override,) = parse_overrides([text])
    except UserError as error:
        return str(error)
    group, value = override.key_or_group, override.value()
    options = ", ".join([] if group.startswith("hydra") else group_options(group)) or "its options, by name"
    is_group = "/" in group or bool(group_options(group))
    if override.is_delete():
        return f"~{group}: every run needs an option of this group: {options}" if group in GROUPS else ""
    for choice in value.list if isinstance(value, ChoiceSweep) else [value]:
        names = choice if isinstance(choice, list) else [choice]
        if is_group and not all(isinstance(name, str) for name in names):
            return f"{shorten(text)}: must be one of {options}"
    return ""
