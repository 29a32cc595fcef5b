"""`history.csv`: the metrics of a run, one row per epoch."""

import math

from crackdet.core.reading import MIB, read_csv
from crackdet.store.paths import RunPaths

MAX_BYTES = 16 * MIB
MAX_NUMBER = 1e30
MAX_DIGITS = 40


def read_history(run: RunPaths) -> list[dict[str, str]]:
    """Return the rows of the history; a cell is empty if it holds no number, and a damaged file has no rows."""
    rows = read_csv(run.history_file, MAX_BYTES)
    if not rows or not all(name.isprintable() for name in rows[0]):
        return []
    return [{name: text if _is_number(text) else "" for name, text in row.items()} for row in rows]


def _is_number(text: str) -> bool:
    try:
        return len(text) <= MAX_DIGITS and text.isascii() and math.fabs(float(text)) <= MAX_NUMBER
    except ValueError:
        return False
