"""The Hydra callback: checks settings before the first job, and writes the summary of other sweepers' sweeps."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from crackdet.config.overrides import parse_overrides, task_overrides
from crackdet.config.parsing import parse_group
from crackdet.core.console import exit_with_error
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.command_line import restore_arguments
from crackdet.sweep.counting import check_combinations, num_single_values, num_values

GRID = "hydra_plugins.crackdet_sweeper.grid_sweeper.GridSweeper"
SEARCH = "hydra_plugins.crackdet_sweeper.optuna_sweeper.OptunaSweeper"
OWN_SWEEPERS = (GRID, SEARCH)
# Of sweeps of Hydra's own sweepers: folder, report, keep_weights. After an error Hydra does not call
# `on_multirun_end`, so `crackdet.cli.train` calls `finalize_foreign_sweeps`.
pending_summaries: list[tuple[Path, bool, str]] = []
foreign_sweeps: list[Path] = []  # folders of the sweeps of Hydra's own sweepers that this process has begun


class SummaryCallback(Callback):
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check(config)
        if config.sweep.get("dry_run"):
            exit_with_error("sweep.dry_run=true: lists the runs of a sweep; give -m, or remove it to train this run")
        if (top := config.sweep.get("top")) is not None:
            exit_with_error(f"sweep.top={top}: is for sweeps; give -m, or remove it to train this run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        restore_arguments()
        _check(config)
        if config.hydra.sweeper and config.hydra.sweeper.get("_target_") not in OWN_SWEEPERS:
            for key in ("dry_run", "zip", "exclude", "top", "screen"):
                if config.sweep.get(key):
                    exit_with_error(
                        f"sweep.{key}: is for crackdet's own sweepers, hydra/sweeper=crackdet and crackdet_optuna"
                    )
            directory = Path(config.hydra.sweep.dir)
            try:
                _check_values(config.hydra)
                SweepRecord(directory).make(expand_home(config.runtime.store))
            except UserError as error:
                exit_with_error(str(error))
            keep_weights = config.runtime.get("keep_weights", "all")
            foreign_sweeps.append(directory)
            pending_summaries.append((directory, config.sweep.get("report", True), keep_weights))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        finalize_foreign_sweeps()


def _check(config: DictConfig) -> None:
    """Refuse a command before its first job."""
    try:
        for group in ("sweep", "runtime"):
            parse_group(group, None if OmegaConf.is_missing(config, group) else config.get(group))
    except UserError as error:
        exit_with_error(str(error))
    if config.hydra.job.chdir:
        exit_with_error(
            "hydra.job.chdir=true: must be false; the paths of the run store, the data and the cache are relative to "
            "the current folder"
        )


def _check_values(hydra: Any) -> None:
    """Raise UserError if one of Hydra's own sweepers cannot list the values of this command."""
    params = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
    overrides = parse_overrides([*params, *task_overrides(hydra)])
    if str(hydra.sweeper.get("_target_")).endswith(".BasicSweeper"):
        check_combinations({override.key_or_group: num_single_values(override) for override in overrides})
    else:
        for override in overrides:
            num_values(override)


def finalize_foreign_sweeps(status: int = 0) -> None:
    """Print and write the pending summaries.

    Raises:
        SystemExit: With `status` if it is not 0, or with 1 if a run failed.
    """
    from crackdet.sweep.finalize import finalize

    while pending_summaries:
        directory, report, keep_weights = pending_summaries.pop()
        if SweepRecord(directory).runs():
            finalize(directory, status, report, keep_weights)
