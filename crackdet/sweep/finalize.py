"""The end of every sweep: its summary on the terminal and in its folder, its report, and the exit status."""

import logging
from pathlib import Path

from crackdet.analysis.ranking import summarize
from crackdet.analysis.retention import clean_after_sweep
from crackdet.analysis.search_results import show_search
from crackdet.core.errors import WriteFailed
from crackdet.store.snapshot import Status
from crackdet.sweep.disk_usage import log_checkpoint_usage

log = logging.getLogger(__name__)


def finalize(directory: Path, status: int = 0, report: bool = False, keep_weights: str = "all") -> None:
    """Prints and writes the summary of a sweep, and where it is wanted the report; deletes weights that are not kept.

    Raises:
        SystemExit: with `status` where that is not 0, else with 1 where a run failed.
    """
    clean_after_sweep(directory, keep_weights)
    summary = summarize(directory)
    summary.show()
    show_search(directory)
    log_checkpoint_usage(entry.run for ranking in summary.rankings for entry in ranking)
    try:
        summary.write(directory)
    except WriteFailed as error:  # a full disk
        log.error("error: %s", error)
        status = status or 1
    if report and summary.rankings and status < 128:  # who stops a sweep does not want to wait
        _write_report(directory)
    failed = any(entry.status in (Status.FAILED, Status.CORRUPT) for entry in summary.entries)
    if status or failed:
        raise SystemExit(status or 1)


def _write_report(directory: Path) -> None:
    """One line, whatever happens: the runs are what counts."""
    try:
        from crackdet.report.build import write_report

        log.info("report %s", write_report(directory))
    except Exception as error:  # a full disk, a package that is missing, a fault of ours
        log.warning("the report could not be written: %s", str(error) or type(error).__name__)
