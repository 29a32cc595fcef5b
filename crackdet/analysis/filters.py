"""Conditions on runs, as a command line gives them: `accuracy>0.95`, `model.conv_out=[64,128]`."""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from crackdet.analysis.rows import RunRow
from crackdet.config.messages import nearest
from crackdet.core.errors import UserError
from crackdet.store.pointing import NUMBERS

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "=": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
CONDITION = re.compile(r"\s*([\w.]+)\s*(>=|<=|!=|=|>|<)\s*(.*?)\s*")
OWN = ("id", "status")


@dataclass(frozen=True)
class Condition:
    """A key, a comparison and a value; a run that does not have the key does not meet it."""

    key: str
    sign: str
    value: str

    def holds(self, entry: RunRow) -> bool:
        own = value_of(entry, self.key)
        if own is None:
            return self.sign == "!=" and self.value != "null"
        number, given = _number(own), _number(self.value)
        if number is not None and given is not None:
            return OPERATORS[self.sign](number, given)
        return OPERATORS[self.sign](_plain(own), _plain(self.value))


def parse_filters(texts: Iterable[str], entries: Sequence[RunRow]) -> list[Condition]:
    """Conditions, whose keys are written out where the last part of a dotted one was enough to know it.

    Raises:
        UserError: for a text that is no condition, or a key that no run has.
    """
    found = []
    for text in texts:
        matched = CONDITION.fullmatch(text)
        if matched is None:
            raise UserError(f"--filter {text}: is no condition such as accuracy>0.95 or model.name=custom")
        key, sign, value = matched.groups()
        key = full_key(key, entries, "--filter")
        if sign not in ("=", "!=") and _number(value) is None:
            raise UserError(f"--filter {text}: {value or 'nothing'} is no number to compare with; use = or !=")
        found.append(Condition(key, sign, value))
    return found


def value_of(entry: RunRow, key: str) -> Any:
    """What a run has under a key: id, status, a figure of its result, or a setting by its dotted key."""
    if key in OWN:
        return entry.id if key == "id" else str(entry.status)
    if key in NUMBERS:
        return entry.pointing.get(key)
    found = entry.result.get(key)
    return entry.setting(key) if found is None else found


def full_key(key: str, entries: Sequence[RunRow], option: str) -> str:
    """`conv_out` as `model.conv_out`.

    Raises:
        UserError: where no run has such a key, or several keys end so.
    """
    known = known_keys(entries)
    if key in known or not entries:
        return key
    matches = [one for one in known if one.endswith(f".{key}")]
    if len(matches) > 1:
        raise UserError(f"{option} {key}: could be {', '.join(matches)}; give the whole key")
    if not matches:
        raise UserError(f"{option} {key}: no run has such a figure or setting{nearest(key, known)}")
    return matches[0]


def known_keys(entries: Sequence[RunRow]) -> list[str]:
    """The figures and settings of these runs."""
    keys = dict.fromkeys(OWN)
    shapes: set[tuple[str, ...]] = set()
    for entry in entries:
        shape = (*(str(key) for key in entry.result if key not in LEFT_OUT), entry.id.partition("-")[0])
        if shape not in shapes:  # runs of one network have the same keys: look at one of them
            shapes.add(shape)
            keys |= dict.fromkeys([*shape[:-1], *entry.settings])
    if any(entry.pointing for entry in entries):
        keys |= dict.fromkeys(NUMBERS)
    return list(keys)


LEFT_OUT = ("schema", "identity", "files", "settings", "right")  # of a result: not for eyes


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _plain(value: Any) -> str:
    """`[64, 128]` and `True` as they are typed: `[64,128]` and `true`."""
    return re.sub(r"\s", "", str(value)).lower()
