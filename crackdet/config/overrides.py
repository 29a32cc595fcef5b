"""Overrides as Hydra parses them, and why it cannot parse one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf

from crackdet.config.config_files import group_options
from crackdet.config.interpolation import escape
from crackdet.config.messages import describe_key, find_field, shorten
from crackdet.core.errors import UserError

PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)  # text that needs no quotes in an override
SYNTAX = ("LexerNoViableAlt", "token recognition", "mismatched input", "extraneous input", "no viable", "missing ")


def parse_overrides(texts: Sequence[str], parser: OverridesParser | None = None) -> list[Override]:
    """Return overrides as Hydra parses them.

    Raises:
        UserError: If one of them cannot be parsed.
    """
    parser, parsed = parser or OverridesParser.create(), []
    for text in texts:
        try:
            parsed += parser.parse_overrides([text])
        except OverrideParseException as error:
            raise UserError(explain_syntax(text, str(error))) from None
        except RecursionError:
            raise UserError(f"{shorten(text)}: has too many brackets{_allowed(text)}") from None
        except ValueError:  # more digits than Python converts
            raise UserError(f"{shorten(text)}: has a number with too many digits{_allowed(text)}") from None
    return parsed


def override_value(value: Any) -> str:
    """Return a value of a configuration as an override has it: text, a number, null, a list or a dictionary."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{override_value(key)}:{override_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(override_value, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    if PLAIN.fullmatch(value) and value.lower() not in ("null", "true", "false", "inf", "nan"):
        return value
    escaped = re.sub(r"(\\*)(\'|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), escape(value))
    return f"'{escaped}'"


def task_overrides(hydra: Any) -> list[str]:
    """Return the overrides of a command or of a job as they were given: `${...}` in them is not resolved."""
    return cast(list[str], OmegaConf.to_container(hydra.overrides.task, resolve=False))


def explain_syntax(text: str, message: str) -> str:
    """Return why Hydra cannot parse an override, and how to write it if quotes or another value help."""
    key, equals, value = text.partition("=")
    if not equals:
        name, _, value = text.partition(":")
        return f"{shorten(text)}: is not an override; give KEY=VALUE, as in {f'{name}={value}' if value else 'seed=1'}"
    lines = message.splitlines()[1:-1]  # the first repeats all overrides, the last is a link
    if lines and lines[0].startswith("LexerNoViableAltException"):
        position = lines[-1].find("^") - len("LexerNoViableAltException: ")
        reason = f"the character {text[position : position + 1]} is not allowed here without quotes"
    else:
        reason = " ".join(" ".join(line for line in lines if not line.startswith("Error parsing override")).split())
    hint = (_quoted(key, value) or _allowed(text)) if any(mark in message for mark in SYNTAX) else ""
    return f"{shorten(text)}: {shorten(reason)}{hint}"


def _quoted(key: str, value: str) -> str:
    """Return how a value is quoted; empty if the setting is no text, or the quoted value is not accepted either."""
    found = find_field(key.lstrip("+"))
    if (
        (found is not None and found[0] is not Any and "str" not in str(found[0]))
        or group_options(key)
        or shorten(value) != value
    ):
        return ""
    quoted = f"{key}='{value}'" if "'" not in value else f'{key}="{value}"'
    try:
        OverridesParser.create().parse_override(quoted)
    except (HydraException, ValueError):
        return ""
    return f"; give the text in quotes, inside those of the shell: {_shell_quoted(quoted)}"


def _shell_quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else '"' + text.replace('"', '\\"') + '"'


def _allowed(text: str) -> str:
    key = text.partition("=")[0].lstrip("+~")
    allowed = describe_key(key)
    if options := group_options(key):
        return f"; must be one of {', '.join(options)}"
    return f"; must be {allowed}" if allowed else ""
