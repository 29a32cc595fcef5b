"""What Hydra calls for each job: overrides have become a configuration, which becomes a finished run.

A finished run is recognised without importing torch.
"""

import logging
import traceback
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from crackdet.config import Config, parse
from crackdet.data import ImageSet, data_fingerprint
from crackdet.errors import RunFailed, UserError
from crackdet.identity import Identity, identify
from crackdet.store import AlreadyRunning, Run, RunStore, write_json
from crackdet.sweep.record import SweepRecord
from crackdet.sweep.start import refuse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One configuration on its way to a result."""

    config: Config
    identity: Identity
    run: Run
    overrides: list[str]


def plan(composed: DictConfig, overrides: list[str], fingerprints: dict[str, str] | None = None) -> Job:
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
    run.check_identity(identity)
    return Job(config, identity, run, overrides)


def execute(job: Job) -> float | None:
    """Trains the run unless it is finished; gives its validation accuracy, None where another process has it.

    Raises:
        UserError: where the run cannot begin.
        RunFailed: where it failed, with the reason that is now in its `failure.json`.
        Interrupted: where the process was asked to stop.
    """
    run, rerun = job.run, job.config.runtime.rerun
    if run.result is not None and not rerun:
        return _already_finished(run)
    from crackdet.training.run import prepare  # imports torch: seconds

    sets = prepare(job.config)
    try:
        with run.claim():
            if run.result is not None and not rerun:  # by another process, a moment ago
                return _already_finished(run)
            if rerun:
                run.clear()
            return _train(job, sets)
    except AlreadyRunning:
        log.info("%s is being trained by another process", run.id)
        return None


def run_job(composed: DictConfig) -> float | None:
    """The task function of `train.py`: a single run, or one job of any of Hydra's sweepers."""
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    single = hydra.mode == RunMode.RUN
    try:
        job = plan(composed, overrides)
        if not single:
            SweepRecord(Path(hydra.sweep.dir)).add(job.run, overrides)
        return execute(job)
    except UserError as error:
        if single:
            refuse(str(error))
        raise
    except RunFailed as error:
        if single:
            log.error("error: %s", error)
            raise SystemExit(1) from None
        raise


def _train(job: Job, sets: dict[str, ImageSet]) -> float:
    from crackdet.training.interrupt import Interrupted
    from crackdet.training.run import train_run

    run = job.run
    log.info("training %s: %s", run.id, " ".join(job.overrides) or "the default configuration")
    try:
        result = train_run(run, job.config, job.identity, sets, job.overrides)
    except Interrupted:
        log.warning("%s is saved; the same command goes on from here", run.id)
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, UserError | RunFailed) else f"{type(error).__name__}: {error}"
        write_json(
            run.failure_file,
            {
                "reason": reason,
                "traceback": traceback.format_exc(),
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
        if not isinstance(error, UserError | RunFailed):
            log.error("%s", traceback.format_exc())
        raise RunFailed(f"{run.id} failed: {reason}") from error
    log.info(
        "finished %s: accuracy %.4f in epoch %d, %s", run.id, result["accuracy"], result["epoch"], run.weights_file
    )
    return float(result["accuracy"])


def _already_finished(run: Run) -> float:
    assert run.result is not None
    log.info("already finished %s: accuracy %.4f, %s", run.id, run.result["accuracy"], run.directory)
    return float(run.result["accuracy"])


def _exact(config: Config) -> Config:
    """With the name of the weights that DEFAULT means today, so that the run is the same tomorrow."""
    if config.model.weights == "DEFAULT":
        from crackdet.models import default_weights  # imports torch: seconds

        return replace(config, model=replace(config.model, weights=default_weights(config.model)))
    return config
