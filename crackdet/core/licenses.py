"""Licenses of initial weights, as text that begins with the license: `apache-2.0 (resnet50.a1_in1k of timm)`."""

import re
from collections.abc import Sequence

from crackdet.core.errors import UserError

UNKNOWN = "unknown"
RANDOM = "random initial weights"  # which nobody licenses


def license_name(text: str) -> str:
    """Return the license in a text: `apache-2.0`, `unknown` or `random`; of a URL on GitHub, the repository."""
    if text == RANDOM:
        return "random"
    name = UNKNOWN if text.startswith(UNKNOWN) else text.partition(" (")[0]
    return re.sub(r"https?://[^/]+/([^/]+/[^/]+).*", r"\1", name)


def parse_licenses(text: str | None, option: str = "--license") -> list[str]:
    """Return the licenses of an option such as `MIT,Apache-2.0`; none for None.

    Raises:
        UserError: If the text names no license.
    """
    found = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not found:
        raise UserError(f"{option}: must be one or more licenses, such as MIT,Apache-2.0,BSD-3-Clause")
    return found


def is_permitted(text: str, licenses: Sequence[str]) -> bool:
    """Return whether a license is one of those given, by whole words: `BSD` permits bsd-3-clause, and `GPL` no LGPL.

    Random initial weights are permitted, and unknown licenses are not.
    """
    if text == RANDOM:
        return True
    name = _plain(license_name(text))
    return name != UNKNOWN and any(
        re.search(rf"(?<![a-z0-9]){re.escape(_plain(wanted))}(?![a-z0-9])", name) for wanted in licenses
    )


def _plain(text: str) -> str:
    return re.sub(r"[\s_]+", "-", text.lower())
