"""Execute a job: skip a finished run, or claim it, train it, and record how it ended."""

import errno
import logging
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crackdet.config.schema import flatten
from crackdet.core.errors import DeviceLost, FolderGone, Pruned, RunFailed, StoreGone, UserError, WriteFailed
from crackdet.core.signals import Interrupted, catch_signals
from crackdet.running.fast_path import finished_line
from crackdet.running.job import Job, PruneCheck
from crackdet.store.failures import (
    Failure,
    forget_attempts,
    num_attempts,
    read_failure,
    record_attempt,
    record_error,
    record_failure,
)
from crackdet.store.integrity import find_corruption, read_result
from crackdet.store.run import AlreadyRunning, Run
from crackdet.store.snapshot import Status
from crackdet.tracking.trackers import TrackedRun, Trackers

if TYPE_CHECKING:
    from crackdet.data.dataset import ImageDataset

log = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def execute(job: Job, prune_check: PruneCheck | None = None) -> float | None:
    """Train the run unless it is finished, and return its validation accuracy.

    Args:
        job: A finished run is skipped without importing torch.
        prune_check: Called after each epoch but the last; a reason that it returns stops the run.

    Returns:
        The accuracy, or None if another process has the run, or the run was pruned.

    Raises:
        UserError: If the run cannot start.
        RunFailed: If it failed; `failure.json` has the reason.
        StoreGone: If the run store was moved, removed or replaced.
        DeviceLost: If the next run of this process would fail as well.
        Interrupted: If the process was asked to stop.
    """
    run, runtime = job.run, job.config.runtime
    if job.is_finished():
        return _skip(run)
    _refuse_exhausted(job)
    from crackdet.running.preparation import load_data  # imports torch: seconds

    datasets = load_data(job)
    try:
        with run.claim():
            run.check_files()
            if job.is_finished():  # another process has finished it meanwhile
                return _skip(run)
            if prune_check is not None and read_failure(run).get("kind") == Failure.PRUNED:
                log.info("%s has been pruned by another process", run.id)
                return None
            repair_note = _discard_result(job)
            accuracy = _train(job, datasets, repair_note, prune_check)
    except AlreadyRunning:
        log.info("%s is being trained by another process", run.id)
        return None
    if runtime.keep_weights != "all":
        from crackdet.analysis.retention import clean_after_run

        clean_after_run(run, runtime.keep_weights, Path(job.sweep) if job.sweep else None)
    return accuracy


def _skip(run: Run) -> float:
    result = read_result(run)
    assert result is not None
    log.info("%s", finished_line(run))
    return float(result["accuracy"])


def _refuse_exhausted(job: Job) -> None:
    """Raise RunFailed if a run has failed fatally, or has no attempts left."""
    failure = read_failure(job.run)
    kind, attempts = failure.get("kind"), num_attempts(failure)
    if job.config.runtime.retrain or not failure or kind in (Failure.REFUSED, Failure.PRUNED):
        return
    if kind == Failure.FATAL or attempts >= job.config.runtime.max_attempts:
        larger = "" if kind == Failure.FATAL else ", and so does a larger runtime.max_attempts"
        remedy = f"runtime.retrain=true retries it{larger}"
        noun = "attempt" if attempts == 1 else "attempts"
        raise RunFailed(f"{job.run.id} is not retried after {attempts} {noun}: {failure.get('reason')}; {remedy}")


def _discard_result(job: Job) -> str | None:
    """Delete an earlier result that is corrupt or to be retrained, if there is room; return how it is corrupt."""
    run = job.run
    corruption = find_corruption(run, read_result(run), thorough=True)
    is_fatal = read_failure(run).get("kind") == Failure.FATAL
    if job.config.runtime.retrain and (run.result_file.exists() or is_fatal):
        from crackdet.running.preparation import check_capacity

        try:
            check_capacity(job)
        except (RunFailed, WriteFailed) as error:
            raise RunFailed(f"{run.id} is not retrained: {error}") from error
        run.reset()
    elif corruption is not None:
        log.warning("%s: %s; training resumes from the intact files", run.directory, corruption)
        run.result_file.unlink()
    return corruption


def _train(
    job: Job, datasets: dict[str, "ImageDataset"], repair_note: str | None, prune_check: PruneCheck | None
) -> float | None:
    """Train a claimed run, and record in the store and the trackers how it ended."""
    from crackdet.running.training_run import train_run
    from crackdet.training.device import gpu_is_unusable

    run = job.run
    log.info("training %s: %s", run.id, " ".join(job.overrides) or "the default configuration")
    trackers = Trackers(job.config.tracker, TrackedRun(run, flatten(job.settings), job.overrides, job.sweep))
    with catch_signals() as request:
        try:
            record_attempt(run)
            result = train_run(
                job, datasets, repair_note=repair_note, prune_check=prune_check, on_history=trackers.update
            )
        except Pruned as pruned:
            record_failure(run, Failure.PRUNED, str(pruned), attempts=0)
            log.info("pruned %s %s", run.id, pruned)
            trackers.end(Status.PRUNED)
            return None
        except Interrupted:
            with suppress(FolderGone):
                forget_attempts(run)
            log.warning("%s is saved; the same command resumes it", run.id)
            published = read_result(run)
            trackers.end(Status.INTERRUPTED if published is None else Status.FINISHED, published)
            raise
        except Exception as error:
            failed = _record_error(run, error)
            trackers.end(Status.FAILED)
            if request.signum is not None and not isinstance(failed, StoreGone):
                log.error("error: %s", failed)
                request.raise_if_asked()
            if gpu_is_unusable():
                raise DeviceLost(f"{failed}; the GPU no longer responds; run the same command again") from error
            raise failed from error
        trackers.end(Status.FINISHED, result)
        accuracy, epoch = float(result["accuracy"]), result["epoch"]
        log.info("finished %s: accuracy %.4f in epoch %d, %s", run.id, accuracy, epoch, run.weights_file)
        request.raise_if_asked()  # the run is finished, but the sweep has to stop
    return accuracy


def _record_error(run: Run, error: Exception) -> RunFailed | StoreGone:
    """Write `failure.json`, and return the error to raise; a cause that the user can fix counts as no attempt."""
    if isinstance(error, StoreGone):
        return error
    is_expected = isinstance(error, UserError | RunFailed | WriteFailed)
    reason = str(error) if is_expected else f"{type(error).__name__}: {error}"
    if type(error).__name__ == "OutOfMemoryError":  # of torch, on a GPU
        reason = f"out of GPU memory; reduce trainer.batch_size or data.image_size ({str(error).split('.')[0]})"
    elif not is_expected:
        log.error("%s", traceback.format_exc())
    if isinstance(error, UserError | WriteFailed) or getattr(error, "errno", None) in DISK_FULL:
        kind = Failure.REFUSED
    else:
        kind = Failure.FATAL if isinstance(error, RunFailed) and not error.retryable else Failure.ERROR
    time = datetime.now(UTC).isoformat(timespec="seconds")
    record_error(run, kind, reason, traceback=traceback.format_exc(), time=time)
    return RunFailed(f"{run.id} failed: {reason}")
