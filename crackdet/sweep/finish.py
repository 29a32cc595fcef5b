"""The end of every sweep: its summary on the terminal and in its folder, and the exit status."""

from pathlib import Path

from crackdet.store import Status
from crackdet.summary import summarise
from crackdet.summary.search import show_search


def finish(directory: Path, status: int = 0) -> None:
    """Prints and writes the summary of a sweep.

    Raises:
        SystemExit: with `status` where that is not 0, else with 1 where a run failed.
    """
    summary = summarise(directory)
    summary.write(directory)
    summary.show()
    show_search(directory)
    failed = any(entry.status in (Status.FAILED, Status.CORRUPT) for entry in summary.entries)
    if status or failed:
        raise SystemExit(status or 1)
