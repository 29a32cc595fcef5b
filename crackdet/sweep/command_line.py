"""Command lines of sweeps with single values that only some of the options accept.

Hydra composes the configuration of a sweep from the default options and the single values, so it refuses
`optimizer=adam,sgd optimizer.momentum=0.8`. It leaves settings with several values, such as `choice(0.8)`, to the jobs.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException

from crackdet.config.groups import GROUPS

_typed: list[list[str]] = []  # the arguments of this process, while Hydra reads others


@contextmanager
def acceptable_arguments() -> Iterator[None]:
    """Let Hydra read the arguments of this process as `leave_to_jobs` returns them."""
    _typed.append(sys.argv)
    sys.argv = [sys.argv[0], *leave_to_jobs(sys.argv[1:])]
    try:
        yield
    finally:
        restore_arguments()


def restore_arguments() -> None:
    """Restore the arguments that the user typed, which each run records; Hydra has read the others."""
    if _typed:
        sys.argv = _typed.pop()


def leave_to_jobs(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with `choice(VALUE)` for single values that not every chosen option accepts."""
    parsed = [_parse(text) for text in arguments]
    swept = {found.key_or_group.partition("/")[0] for found in parsed if found and found.is_sweep_override()}
    if any(found and found.key_or_group == "sweep.top" for found in parsed):
        swept.add("model")  # over the candidates of a screen
    return [
        _as_choice(found) if found and _is_conditional(found, swept) else text
        for text, found in zip(arguments, parsed, strict=True)
    ]


def _is_conditional(override: Override, swept: set[str]) -> bool:
    """Return whether the override sets one value of a setting that not every option of a swept group has."""
    group, *names = override.key_or_group.split(".")
    if override.type is not OverrideType.CHANGE or override.is_sweep_override() or group not in swept or not names:
        return False
    return any(names[0] not in {item.name for item in fields(schema)} for schema in GROUPS.get(group, {}).values())


def _as_choice(override: Override) -> str:
    """Return a choice from the value; the override itself if that means something else, as with null and `${...}`."""
    text, key = str(override.input_line), override.key_or_group
    choice = f"{key}=choice({override.get_value_element_as_str()})"
    if "${" in text or (found := _parse(choice)) is None:
        return text
    means = [_parse(f"{key}={value}") for value in found.sweep_string_iterator()]
    return choice if [one and one.value() for one in means] == [override.value()] else text


def _parse(text: str) -> Override | None:
    """Return an argument as an override; None if it is none."""
    try:
        return None if text.startswith("-") else OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError):  # Hydra will report it
        return None
