"""What is said before Hydra begins, and the summary that sweeps by its own sweepers know nothing of."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from crackdet.core.console import exit_with_error
from crackdet.core.errors import UserError
from crackdet.store.sweep_record import SweepRecord

OWN_SWEEPERS = (
    "hydra_plugins.crackdet_sweeper.grid_sweeper.GridSweeper",
    "hydra_plugins.crackdet_sweeper.optuna_sweeper.OptunaSweeper",
)
# folders of sweeps whose end Hydra has not told (it does not when one stops half-way), with report and keep_weights
unfinished: list[tuple[Path, bool, str]] = []


class SummaryCallback(Callback):
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check_folder(config)
        if config.sweep.get("dry_run"):
            exit_with_error("sweep.dry_run=true: lists the runs of a sweep; give -m, or leave it out to train this run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check_folder(config)
        if config.hydra.sweeper._target_ not in OWN_SWEEPERS:
            for key in ("dry_run", "zip", "exclude"):
                if config.sweep.get(key):
                    exit_with_error(
                        f"sweep.{key}: is for crackdet's own sweepers, hydra/sweeper=crackdet and crackdet_optuna"
                    )
            try:
                SweepRecord(Path(config.hydra.sweep.dir)).make(Path(config.runtime.store).expanduser())
            except UserError as error:
                exit_with_error(str(error))
            keep_weights = config.runtime.get("keep_weights", "all")
            unfinished.append((Path(config.hydra.sweep.dir), config.sweep.get("report", True), keep_weights))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish_all()


def _check_folder(config: DictConfig) -> None:
    if config.hydra.job.chdir:
        exit_with_error(
            "hydra.job.chdir=true: must be false; run store, data and cache lie where the command is given, "
            "and each job would look for its own"
        )


def finish_all(status: int = 0) -> None:
    """Prints and writes the summaries that are owed.

    Raises:
        SystemExit: with `status` where that is not 0, or with 1 where a run failed.
    """
    from crackdet.sweep.finalize import finalize

    while unfinished:
        directory, report, keep_weights = unfinished.pop()
        if SweepRecord(directory).runs():
            finalize(directory, status, report, keep_weights)
