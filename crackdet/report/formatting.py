"""Numbers, settings and long lists as the page shows them."""

from collections.abc import Sequence
from typing import Any, TypeVar

from crackdet.analysis import differences
from crackdet.analysis.columns import scaled
from crackdet.analysis.differences import NETWORK, value_text
from crackdet.core.console import sanitize

Item = TypeVar("Item")

THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"  # between thousands, and before a unit
NO_VALUE = "\N{EN DASH}"


def percent(share: float, digits: int = 2) -> str:
    """Return 0.97493 as `97.49 %`."""
    return f"{100 * share:.{digits}f}{THIN_SPACE}%"


def span(low: float, high: float) -> str:
    """Return an interval of shares as percentages."""
    return f"{100 * low:.1f} \N{EN DASH} {percent(high, 1)}"


def count(number: float) -> str:
    """Return 205860225 as `205 860 225`."""
    return f"{number:,.0f}".replace(",", THIN_SPACE)


def short(number: float) -> str:
    """Return 205860225 as `205.9 M`."""
    return scaled(number, [THIN_SPACE + letter for letter in "TGMk"], digits=4)


def milliseconds(value: float) -> str:
    return f"{value:.3g}{THIN_SPACE}ms"


def duration(seconds: float) -> str:
    """Return 75.2 as `1 min 15 s`."""
    if seconds < 60:
        return f"{seconds:.1f}{THIN_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{THIN_SPACE}h {minutes}{THIN_SPACE}min"
    return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"


def text(value: Any) -> str:
    """Return a setting as a user types it."""
    return sanitize(value_text(value))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Shorten dotted keys to their last part if that is unique; `model.name` becomes `network`."""
    return differences.short_names(keys) | ({NETWORK: "network"} if NETWORK in keys else {})


def subsample(ranked: Sequence[Item], max_items: int) -> list[Item]:
    """Return at most `max_items` items in their order: half of them the first ones, the others evenly spaced."""
    if len(ranked) <= max_items:
        return list(ranked)
    first = max_items // 2
    rest, wanted = ranked[first:], max_items - first
    return [*ranked[:first], *(rest[index * len(rest) // wanted] for index in range(wanted))]


def caption(shown: int, total: int) -> str:
    """Return a caption that says how many runs `subsample` left out; empty if it left out none."""
    if shown >= total:
        return ""
    return f"{shown:,} of {total:,} runs are shown: the best {shown // 2:,}, and an even choice of the others."
