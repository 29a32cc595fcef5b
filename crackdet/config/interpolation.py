r"""Literal text that looks like an interpolation of OmegaConf: `${x}` is written `\${x}`, as on the command line.

A configuration is resolved once, when it is composed. From there on its values are literal, and whatever is stored or
given to OmegaConf again is escaped. An interpolation in a stored configuration is therefore not ours: resolving
`${oc.env:TOKEN}` would carry a secret of this user into a report.
"""

import re
from collections.abc import Callable
from typing import Any

INTERPOLATION = re.compile(r"(\\*)\$\{")  # OmegaConf: literal after an odd number of backslashes


def escape(value: Any) -> Any:
    """Return literal values, nested in lists and dicts, as OmegaConf has to read them to return the same values."""
    return _map_texts(value, lambda text: INTERPOLATION.sub(r"\1\1\\${", text))


def unescape(value: Any) -> Any:
    """Return the values that `escape` was given.

    Raises:
        ValueError: If a text holds an interpolation.
    """
    return _map_texts(value, _unescape)


def _unescape(text: str) -> str:
    def literal(match: re.Match[str]) -> str:
        if len(match[1]) % 2 == 0:
            raise ValueError(f"holds an interpolation ({text[:60]}), which is not resolved; give its value instead")
        return match[1][: len(match[1]) // 2] + "${"

    return INTERPOLATION.sub(literal, text)


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a copy of a tree with its texts changed, except the keys."""
    if isinstance(value, str):
        return change(value) if "${" in value else value
    if isinstance(value, dict):
        return {key: _map_texts(item, change) for key, item in value.items()}
    return [_map_texts(item, change) for item in value] if isinstance(value, list | tuple) else value
