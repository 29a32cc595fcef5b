"""What Hydra calls for each job: overrides have become a configuration, which becomes a finished run.

A finished run is recognised without importing torch.
"""

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, flatten, to_dict
from crackdet.core.console import exit_with_error
from crackdet.core.errors import DeviceLost, Pruned, RunFailed, UserError, WriteFailed
from crackdet.data.dataset import ImageDataset, data_fingerprint
from crackdet.running.command_cache import SINGLE, CacheEntry, CommandCache, config_folders, dependencies, is_cacheable
from crackdet.running.skip import finished_line
from crackdet.store.failures import Failure, num_attempts, read_failure, record_attempt, record_failure
from crackdet.store.identity import NON_IDENTITY, Identity, identify
from crackdet.store.integrity import find_corruption, read_result
from crackdet.store.run import AlreadyRunning, Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.tracking.trackers import TrackedRun, Trackers

log = logging.getLogger(__name__)

SEARCH = "hydra_plugins.crackdet_sweeper.optuna_sweeper.OptunaSweeper"
NO_PRUNER = "optuna.pruners.NopPruner"
PruneCheck = Callable[
    [Sequence[Mapping[str, Any]]], str | None
]  # history so far -> why the run is not worth going on with


@dataclass(frozen=True)
class Job:
    """One configuration on its way to a result."""

    config: Config
    identity: Identity
    run: Run
    overrides: list[str]
    sweep: str | None = None  # the folder of the sweep that it is a job of

    def is_finished(self) -> bool:
        """Whether there is nothing to do.

        Raises:
            StoreError: where the run directory is of another configuration.
        """
        return not self.config.runtime.retrain and self.run.is_finished(self.identity.digest)

    def meaning(self, composed: DictConfig | Mapping[str, Any]) -> CacheEntry:
        """What is to be remembered of the overrides that composed this job."""
        lasting = is_cacheable(composed) and not self.config.runtime.retrain
        return CacheEntry(self.overrides, self.run, self.identity.digest, dependencies(self.config), lasting)


def make_job(
    composed: DictConfig | Mapping[str, Any], overrides: list[str], fingerprints: dict[str, str] | None = None
) -> Job:
    """The run that a composed configuration means; `fingerprints` remembers data from call to call.

    Raises:
        UserError: where the configuration or its data cannot be used.
    """
    config = _exact(parse(composed))
    known, key = fingerprints if fingerprints is not None else {}, repr(config.data)
    if key not in known:
        known[key] = data_fingerprint(config.data, config.runtime)
    identity = identify(config, known[key])
    run = RunStore(Path(config.runtime.store).expanduser()).run(identity.run_id)
    return Job(config, identity, run, overrides)


def execute(job: Job, judge: PruneCheck | None = None) -> float | None:
    """Trains the run unless it is finished; gives its validation accuracy.

    None where another process has the run, or where `judge`, asked after each epoch, gave a reason to prune it.

    Raises:
        UserError: where the run cannot begin.
        RunFailed: where it failed, with the reason that is now in its `failure.json`.
        DeviceLost: where the next run of this process would fail too.
        Interrupted: where the process was asked to stop.
    """
    run = job.run
    if job.is_finished():
        return _already_finished(run)
    _refuse_exhausted(job)
    from crackdet.running.train_run import load_data  # imports torch: seconds

    sets = load_data(job.config, job.identity)
    try:
        with run.claim():
            if job.is_finished():  # by another process, a moment ago
                return _already_finished(run)
            if judge is not None and read_failure(run).get("kind") == Failure.PRUNED:
                log.info("%s has been pruned by another process", run.id)
                return None
            damage = find_corruption(run, read_result(run), thorough=True)
            fatal = read_failure(run).get("kind") == Failure.FATAL
            if job.config.runtime.retrain and (run.result_file.exists() or fatal):
                _check_room(job)
                run.reset()
            elif damage is not None:
                log.warning("%s: %s; it goes on from what is sound", run.directory, damage)
                run.result_file.unlink()
            accuracy = _train(job, sets, damage, judge)
    except AlreadyRunning:
        log.info("%s is being trained by another process", run.id)
        return None
    if job.config.runtime.keep_weights != "all":
        from crackdet.analysis.retention import clean_after_run

        clean_after_run(run, job.config.runtime.keep_weights, Path(job.sweep) if job.sweep else None)
    return accuracy


def _check_room(job: Job) -> None:
    """Raises RunFailed where a run that is finished cannot be trained again: then its result stays."""
    from crackdet.running.train_run import check_room

    try:
        check_room(job.run, job.config)
    except (RunFailed, WriteFailed) as error:
        raise RunFailed(f"{job.run.id} is not trained again: {error}") from error


def run_job(composed: DictConfig) -> float | None:
    """The task function of `train.py`: a single run, or one job of any of Hydra's sweepers."""
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    single = hydra.mode == RunMode.RUN
    try:
        if single:
            memo = CommandCache(config_folders(hydra.runtime.config_sources), f"{SINGLE} {hydra.job.config_name}")
            memo.get(overrides)  # the state of the files before they are asked
            job = make_job(composed, overrides)
            memo.put([job.meaning(composed)])
        else:
            job = replace(make_job(composed, overrides), sweep=hydra.sweep.dir)
            SweepRecord(Path(hydra.sweep.dir)).add(job.run, overrides)
        return execute(job, None if single else _judge(hydra, job))
    except UserError as error:
        if single:
            exit_with_error(str(error))
        raise
    except RunFailed as error:
        if single:
            log.error("error: %s", error)
            raise SystemExit(1) from None
        raise


def _judge(hydra: HydraConf, job: Job) -> PruneCheck | None:
    """Who decides, where the job is a trial of a search that prunes."""
    if hydra.sweeper._target_ != SEARCH or job.is_finished():
        return None
    pruner = hydra.sweeper.pruner
    if pruner is None or pruner._target_ == NO_PRUNER:
        return None
    from crackdet.sweep.search.pruning import judge_of  # imports optuna: half a second

    settings: dict[str, Any] = OmegaConf.to_container(pruner, resolve=True)  # type: ignore[assignment]
    return judge_of(Path(hydra.sweep.dir), settings, job.run)


def _train(job: Job, sets: dict[str, ImageDataset], damage: str | None, judge: PruneCheck | None) -> float | None:
    from crackdet.core.signals import Interrupted
    from crackdet.running.train_run import train_run
    from crackdet.training.device import gpu_is_unusable

    run = job.run
    log.info("training %s: %s", run.id, " ".join(job.overrides) or "the default configuration")
    trackers = Trackers(job.config.tracker, _subject(job))
    try:
        record_attempt(run)
        result = train_run(run, job.config, job.identity, sets, job.overrides, damage, judge, trackers.update)
    except Pruned as pruned:
        record_failure(run, Failure.PRUNED, str(pruned), attempts=0)
        log.info("pruned %s %s", run.id, pruned)
        trackers.end(Status.PRUNED)
        return None
    except Interrupted:
        run.failure_file.unlink(missing_ok=True)
        log.warning("%s is saved; the same command goes on from here", run.id)
        stopped = read_result(run)
        trackers.end(Status.INTERRUPTED if stopped is None else Status.FINISHED, stopped)
        raise
    except Exception as error:
        failed = _failed(run, error)
        trackers.end(Status.FAILED)
        if gpu_is_unusable():
            raise DeviceLost(f"{failed}; the GPU does not answer any more, start again") from error
        raise failed from error
    trackers.end(Status.FINISHED, result)
    log.info(
        "finished %s: accuracy %.4f in epoch %d, %s", run.id, result["accuracy"], result["epoch"], run.weights_file
    )
    return float(result["accuracy"])


def _subject(job: Job) -> TrackedRun:
    settings = {group: value for group, value in to_dict(job.config).items() if group not in NON_IDENTITY}
    return TrackedRun(job.run, flatten(settings), job.overrides, job.sweep)


def _failed(run: Run, error: Exception) -> RunFailed:
    """Records why a run failed; where it was for want of room, what was saved stays and nothing is counted."""
    expected = isinstance(error, UserError | RunFailed | WriteFailed)
    reason = str(error) if expected else f"{type(error).__name__}: {error}"
    if type(error).__name__ == "OutOfMemoryError":  # of torch, on a GPU
        reason = f"out of GPU memory; make trainer.batch_size or data.image_size smaller ({str(error).split('.')[0]})"
    elif not expected:
        log.error("%s", traceback.format_exc())
    attempts = num_attempts(read_failure(run))
    if isinstance(error, UserError | WriteFailed):
        kind, attempts = Failure.REFUSED, attempts - 1
    else:
        kind = Failure.FATAL if isinstance(error, RunFailed) and not error.retryable else Failure.ERROR
    when = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        record_failure(run, kind, reason, attempts, traceback=traceback.format_exc(), time=when)
    except WriteFailed as full:
        log.error("%s", full)
    return RunFailed(f"{run.id} failed: {reason}")


def _refuse_exhausted(job: Job) -> None:
    """Raise RunFailed if a run has failed fatally, or has no attempts left."""
    failure = read_failure(job.run)
    kind, attempts = failure.get("kind"), num_attempts(failure)
    if job.config.runtime.retrain or not failure or kind in (Failure.REFUSED, Failure.PRUNED):
        return
    if kind == Failure.FATAL or attempts >= job.config.runtime.max_attempts:
        raise RunFailed(
            f"{job.run.id} is not tried again after {attempts} attempts: {failure.get('reason')}; "
            "runtime.retrain=true does, and so does a larger runtime.max_attempts where it is no NaN"
        )


def _already_finished(run: Run) -> float:
    result = read_result(run)
    assert result is not None
    log.info("%s", finished_line(run))
    return float(result["accuracy"])


def _exact(config: Config) -> Config:
    """With the name of the weights that DEFAULT means today, so that the run is the same tomorrow."""
    if config.model.weights == "DEFAULT":
        from crackdet.models.factory import default_weights  # imports torch: seconds

        return replace(config, model=replace(config.model, weights=default_weights(config.model)))
    return config
