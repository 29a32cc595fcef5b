"""Descriptions of the values that the schema allows, for error messages."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from crackdet.config.groups import GROUPS
from crackdet.config.schema import Config

GROUP = "a group of settings"
NOUNS: dict[Any, str] = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
PLURALS: dict[Any, str] = {int: "integers", float: "numbers", str: "texts"}
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def describe_key(key: str) -> str:
    """Return what the schema allows for a dotted key; empty if the schema does not have the key."""
    found = find_field(key)
    return describe(*found) if found else ""


def find_field(key: str) -> tuple[Any, Mapping[str, Any]] | None:
    """Return the type and the constraints of a dotted key; None if no option of its group has the key."""
    group, *names = key.split(".")
    schemas = GROUPS.get(group, {}).values() if names else [Config]
    for schema in schemas:
        kind: Any = schema
        constraints: Mapping[str, Any] = {}
        for name in names or [group]:
            items = {item.name: item for item in fields(kind)} if is_dataclass(kind) else {}
            if name not in items:
                break
            hint = get_type_hints(kind)[name]
            constraints = items[name].metadata
            kind = next((part for part in get_args(hint) if is_dataclass(part)), hint)  # TensorBoard | None
        else:
            return hint, constraints
    return None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the most similar known name, or all of them."""
    names = sorted(set(known))
    similar = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {similar[0]}?" if similar else f"; choose from {', '.join(names)}"


def describe(kind: Any, constraints: Mapping[str, Any]) -> str:
    """Return what a field allows, for example "a list of integers >= 1" for `list[int]` with `ge=1`."""
    if "pattern" in constraints:
        return "of the form " + str(constraints["pattern"]).replace("|", " or ").replace("[1-9][0-9]*", "NUMBER")
    if "texts" in constraints:
        return "non-empty text or a list of them, or null"
    if "choices" in constraints:
        return "one of " + ", ".join(map(str, constraints["choices"]))
    if type(None) in get_args(kind):
        required = next(part for part in get_args(kind) if part is not type(None))
        return f"{describe(required, constraints)}, or null"
    bounds = " and ".join(f"{sign} {constraints[name]}" for name, sign in SIGNS.items() if name in constraints)
    if get_origin(kind) is not list:
        noun = "non-empty text" if "min_length" in constraints else NOUNS.get(kind, GROUP)
        return f"{noun} {bounds}".strip()
    low, high = constraints.get("min_length", 0), constraints.get("max_length")
    items = f"{PLURALS.get(get_args(kind)[0], 'values')} {bounds}".strip()
    if low == high:
        return f"a list of {low} {items}"
    example = ", such as [64,128]" if "integers" in items or "numbers" in items else ""
    return f"a {'non-empty ' if low else ''}list of {items}{example}"


def show_value(value: Any) -> str:
    try:
        return shorten("[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value))
    except ValueError:  # an integer with more digits than Python converts
        return "a number with too many digits"


def shorten(text: str, length: int = 200) -> str:
    """Return a text of the user for a message: whole, or its beginning if it is long."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"
