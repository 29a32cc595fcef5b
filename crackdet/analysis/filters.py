"""Filters on runs as a user types them: `accuracy>0.95`, `model.conv_out=[64,128]`."""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from crackdet.analysis.rows import RunRow
from crackdet.config.messages import suggest
from crackdet.core.errors import UserError
from crackdet.store.pointing import POINTING_COLUMNS

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "=": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
CONDITION = re.compile(r"\s*([\w.]+)\s*(>=|<=|!=|=|>|<)\s*(.*?)\s*")
ROW_KEYS = ("id", "status")
INTERNAL_FIELDS = ("schema", "identity", "files", "settings", "right")  # of a result, not meant for users


@dataclass(frozen=True)
class Condition:
    """A key, a comparison and a value. A run without the key does not match."""

    key: str
    sign: str
    value: str

    def holds(self, row: RunRow) -> bool:
        own = value_of(row, self.key)
        if own is None:
            return self.sign == "!=" and self.value != "null"
        number, wanted = _number(own), _number(self.value)
        if number is not None and wanted is not None:
            return OPERATORS[self.sign](number, wanted)
        return OPERATORS[self.sign](_plain(own), _plain(self.value))


def parse_filters(texts: Iterable[str], rows: Sequence[RunRow]) -> list[Condition]:
    """Parse conditions and complete their keys.

    Raises:
        UserError: If a text is no condition, or no run has its key.
    """
    found = []
    for text in texts:
        matched = CONDITION.fullmatch(text)
        if matched is None:
            raise UserError(f"--filter {text}: must be a condition such as accuracy>0.95 or model.name=custom")
        key, sign, value = matched.groups()
        key = full_key(key, rows, "--filter")
        if sign not in ("=", "!=") and _number(value) is None:
            raise UserError(f"--filter {text}: {value or 'nothing'} is not a number; compare text with = or !=")
        found.append(Condition(key, sign, value))
    return found


def value_of(row: RunRow, key: str) -> Any:
    """Return a run's id, status, metric or setting by its key; None if it has none."""
    if key in ROW_KEYS:
        return row.id if key == "id" else str(row.status)
    if key in POINTING_COLUMNS:
        return row.pointing.get(key)
    found = row.result.get(key)
    return row.setting(key) if found is None else found


def full_key(
    key: str,
    rows: Sequence[RunRow],
    option: str,
    problem: str = "no run has such a metric or setting",
    others: Sequence[str] = (),
) -> str:
    """Complete the end of a dotted key: `conv_out` to `model.conv_out`.

    Args:
        option: What the key was given as.
        problem: What to say about an unknown key.
        others: Names that may be given instead of a key.

    Raises:
        UserError: If no key of the runs, or more than one, ends so.
    """
    known = known_keys(rows)
    if key in known or not rows:
        return key
    matches = [one for one in known if one.endswith(f".{key}")]
    if len(matches) > 1:
        raise UserError(f"{option} {key}: matches several keys: {', '.join(matches)}; give the whole key")
    if not matches:
        raise UserError(f"{option} {key}: {problem}{suggest(key, [*others, *known])}")
    return matches[0]


def known_keys(rows: Sequence[RunRow]) -> list[str]:
    """Return the keys of the metrics and settings of these runs."""
    keys = dict.fromkeys(ROW_KEYS)
    shapes: set[tuple[str, ...]] = set()
    for row in rows:
        shape = (*(str(key) for key in row.result if key not in INTERNAL_FIELDS), row.id.partition("-")[0])
        if shape not in shapes:  # runs of one network have the same keys
            shapes.add(shape)
            keys |= dict.fromkeys([*shape[:-1], *row.settings])
    if any(row.pointing for row in rows):
        keys |= dict.fromkeys(POINTING_COLUMNS)
    return list(keys)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _plain(value: Any) -> str:
    """Return a value as it is typed: `[64,128]`, `true`."""
    return re.sub(r"\s", "", str(value)).lower()
