"""What the schema allows, in the words of a message."""

import difflib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from crackdet.config.schema import GROUPS, Config

GROUP = "a group of settings"


def allowed(key: str) -> str:
    """What the schema allows for a dotted key, in words; empty where the schema does not know the key."""
    found = declared(key)
    return describe(*found) if found else ""


def declared(key: str) -> tuple[Any, Mapping[str, Any]] | None:
    """The type of a setting and what its values may be, by its dotted key; None where the schema does not know it."""
    head, *rest = key.split(".")
    if not rest:
        schemas: list[type] = [Config]
        rest = [head]
    else:
        schemas = list(GROUPS.get(head, {}).values())
    for schema in schemas:
        found: Any = schema
        kind: Any = None
        metadata: Mapping[str, Any] = {}
        for part in rest:
            items = {item.name: item for item in fields(found)} if is_dataclass(found) else {}
            if part not in items:
                break
            kind = get_type_hints(found)[part]
            metadata = items[part].metadata
            found = next((part for part in get_args(kind) if is_dataclass(part)), kind)  # of TensorBoard | None
        else:
            return kind, metadata
    return None


def nearest(key: str, names: list[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, or all there are."""
    near = difflib.get_close_matches(key, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(set(names)))}"


def describe(kind: Any, metadata: Mapping[str, Any]) -> str:
    """`list[int]` with `at_least=1` as "a list of whole numbers, each at least 1"."""
    if "pattern" in metadata:
        return "of the form " + str(metadata["pattern"]).replace("|", " or ").replace("[1-9][0-9]*", "NUMBER")
    if "choices" in metadata:
        return "one of " + ", ".join(str(choice) for choice in metadata["choices"])
    name = str(getattr(kind, "__name__", kind)) if isinstance(kind, type) else str(kind)
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    text = words.get(name, "")
    if "list" in name:
        low, high = list_length(metadata) if "length" in metadata else (0, None)
        inner = "whole numbers" if "int" in name else "numbers" if "float" in name else "texts"
        text = f"a list of {low} {inner}" if low == high else f"a list of {inner} such as [64,128]"
        if "str" in name:
            text = "a list of texts"
        if low and high is None:
            text += ", at least one"
    elif not text:
        text = next((word for key, word in words.items() if key in name), GROUP)
    elif "length" in metadata:
        text += ", not empty"
    signs = {"at_least": "at least", "at_most": "at most", "above": "above", "below": "below"}
    bounds = [f"{sign} {metadata[key]}" for key, sign in signs.items() if key in metadata]
    if bounds:
        text += (", each " if "list" in name else " ") + " and ".join(bounds)
    if "None" in name or "Optional" in name:
        text += ", or null"
    return text


def show_value(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)


def list_length(metadata: Mapping[str, Any]) -> tuple[int, int | None]:
    length = metadata["length"]
    return length if isinstance(length, tuple) else (length, length)


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
