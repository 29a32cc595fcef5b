"""The end of every sweep: its summary, its report, and the exit status."""

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
    """Print and write the summary of a sweep, and write its report if `report` is true.

    Args:
        keep_weights: `runtime.keep_weights`; the weights of other runs of the sweep are deleted first.

    Raises:
        SystemExit: With `status` if it is not 0, else with 1 if a run failed.
    """
    if status < 128:  # after Ctrl-C, leave at once
        _delete_spare_weights(directory, keep_weights)
    summary = summarize(directory)
    summary.show()
    show_search(directory)
    log_checkpoint_usage(row.run for ranking in summary.rankings for row in ranking)
    try:
        summary.write(directory)
    except WriteFailed as error:
        log.error("error: %s", error)
        status = status or 1
    if report and summary.rankings and status < 128:
        _write_report(directory)
    failed = any(row.status in (Status.FAILED, Status.CORRUPT) for row in summary.all_runs)
    if status or failed:
        raise SystemExit(status or 1)


def _delete_spare_weights(directory: Path, keep_weights: str) -> None:
    try:
        clean_after_sweep(directory, keep_weights)
    except OSError as error:
        log.warning("spare weights could not be deleted: %s; crackdet clean does it", error)


def _write_report(directory: Path) -> None:
    """Write the report. An error is only logged: the runs are finished all the same."""
    try:
        from crackdet.report.build import write_report

        log.info("report %s", write_report(directory))
    except Exception as error:
        log.warning("the report could not be written: %s", str(error) or type(error).__name__)
