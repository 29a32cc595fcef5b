"""Parts of messages."""

from collections.abc import Sequence


def list_first(texts: Sequence[str], number: int, separator: str = ", ") -> str:
    """Return the first texts, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(texts) - number} more" if len(texts) > number else ""
    return separator.join(texts[:number]) + more


def list_lines(texts: Sequence[str], number: int) -> str:
    """Return the first texts as lines of a message, and how many more there are on a line of its own."""
    more = [f"and {len(texts) - number} more"] if len(texts) > number else []
    return "\n".join(f"  {text}" for text in [*texts[:number], *more])
