"""Hydra's task function: train a single run, or one job of any of Hydra's sweepers."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from crackdet.config.overrides import task_overrides
from crackdet.core.console import exit_with_error
from crackdet.core.errors import RunFailed, StoreGone, UserError
from crackdet.data.records import IMAGES_CHANGED
from crackdet.running.command_cache import SINGLE, CommandCache, config_folders
from crackdet.running.execute import execute
from crackdet.running.job import Job, PruneCheck, make_job
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.callback import GRID, OWN_SWEEPERS, SEARCH
from crackdet.sweep.search.objectives import NO_PRUNER
from crackdet.sweep.search.prune_check import make_prune_check

log = logging.getLogger(__name__)


def run_job(composed: DictConfig) -> float | None:
    """Train the run of a composed configuration, and return its validation accuracy, as `execute`."""
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.RUN:
        try:
            return execute(_make_single_job(composed, hydra))
        except UserError as error:
            exit_with_error(str(error))
        except RunFailed as error:
            log.error("error: %s", error)
            raise SystemExit(1) from None
    job = replace(make_job(composed, task_overrides(hydra)), sweep=hydra.sweep.dir)
    record = SweepRecord(Path(hydra.sweep.dir))
    try:
        if hydra.sweeper._target_ in OWN_SWEEPERS:  # they have created the store
            RunStore(job.run.root).check_exists()
        if hydra.sweeper._target_ == GRID and job.run.id not in record.runs():  # the job is composed again here
            raise UserError(IMAGES_CHANGED)
        record.add(job.run, job.overrides)
        return execute(job, _prune_check(hydra, job))
    except StoreGone as error:  # Hydra's own sweepers would start the next run, in a new store
        exit_with_error(str(error))


def _make_single_job(composed: DictConfig, hydra: HydraConf) -> Job:
    """Return the job of a single run, and add it to the command cache."""
    overrides = task_overrides(hydra)
    cache = CommandCache(config_folders(hydra.runtime.config_sources), f"{SINGLE} {hydra.job.config_name}")
    cache.get(overrides)  # takes the stamps of the files before they are read
    job = make_job(composed, overrides)
    cache.put([job.cache_entry(composed)])
    return job


def _prune_check(hydra: HydraConf, job: Job) -> PruneCheck | None:
    """Return the pruner's check if the job is a trial of a search with a pruner."""
    if hydra.sweeper._target_ != SEARCH or job.is_finished():
        return None
    pruner = hydra.sweeper.pruner
    if pruner is None or pruner._target_ == NO_PRUNER:
        return None
    settings: dict[str, Any] = OmegaConf.to_container(pruner, resolve=True)  # type: ignore[assignment]
    return make_prune_check(Path(hydra.sweep.dir), settings, job.run)
