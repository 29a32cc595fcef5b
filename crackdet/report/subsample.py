"""Fewer runs than there are, for what would not be seen, or not be drawn, if all were shown."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def subsample(ranked: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the items, in their order: the first half of them as they are, the others evenly spaced."""
    if len(ranked) <= most:
        return list(ranked)
    first = most // 2
    rest, wanted = ranked[first:], most - first
    return [*ranked[:first], *(rest[place * len(rest) // wanted] for place in range(wanted))]


def caption(shown: int, total: int, what: str = "runs") -> str:
    """What a caption says of it; empty where all are shown."""
    if shown >= total:
        return ""
    return f"{shown:,} of {total:,} {what} are drawn: the best {shown // 2:,}, and an even choice of the others."
