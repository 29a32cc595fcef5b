"""How a report of crackdet is recognised, so that no other file is overwritten."""

from pathlib import Path

FILE = "report.html"
MARKS = (b'<meta name="generator" content="crackdet', b'<p class="mark">crackdet report</p>')
# pages of earlier versions have the second mark only
READ = 2**20  # bytes; the style sheet is before the mark


def is_report(file: Path) -> bool:
    """Return whether a file is a report that crackdet wrote, or is empty."""
    with file.open("rb") as opened:
        begin = opened.read(READ)
    return not begin or any(mark in begin for mark in MARKS)
