"""`field`: a dataclass field with the constraints on its value, named as in pydantic."""

import dataclasses
import math
import operator
import re
from collections.abc import Mapping
from typing import Any

from crackdet.core.reading import MAX_INTEGER

MISSING: Any = "???"  # OmegaConf's mark of a value that the user has to give
MAX_SEED = MAX_INTEGER  # accepted by every random generator
COMPARISONS = {"ge": operator.ge, "le": operator.le, "gt": operator.gt, "lt": operator.lt}


def field(default: Any, **constraints: Any) -> Any:
    """Return a dataclass field whose metadata holds the constraints.

    Args:
        default: The default value; a class is called for one, and a list is copied.
        constraints: `ge`, `le`, `gt`, `lt` (bounds of a number, or of each number of a list), `choices`, `pattern`,
            `min_length`, `max_length` (of a list or a text); `texts=True` asks for a text or a list of texts, which
            OmegaConf has no type for; `path=True` marks a location on this machine, which is
            never part of a run's identity.
    """
    if isinstance(default, list | type):
        factory = default if isinstance(default, type) else lambda: list(default)
        return dataclasses.field(default_factory=factory, metadata=constraints)
    return dataclasses.field(default=default, metadata=constraints)


def texts_of(value: str | list[str] | None) -> list[str]:
    """Return the texts of a setting with the constraint `texts`."""
    return value if isinstance(value, list) else [] if value is None else [value]


def satisfies(value: Any, constraints: Mapping[str, Any]) -> bool:
    """Return whether a value, or each item of a list, meets the constraints of its field."""
    if constraints.get("texts"):
        return bool(value) and all(isinstance(item, str) and item for item in texts_of(value))
    if isinstance(value, list | str):
        lengths = constraints.get("min_length", 0), constraints.get("max_length", math.inf)
        if not lengths[0] <= len(value) <= lengths[1]:
            return False
    if isinstance(value, list):
        each = {name: limit for name, limit in constraints.items() if name not in ("min_length", "max_length")}
        return all(satisfies(item, each) for item in value)
    if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        return False
    return (
        value in constraints.get("choices", (value,))
        and ("pattern" not in constraints or re.fullmatch(constraints["pattern"], value) is not None)
        and all(compare(value, constraints[name]) for name, compare in COMPARISONS.items() if name in constraints)
    )
