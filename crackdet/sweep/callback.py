"""The Hydra callback: checks settings before the first job, and writes the summary of other sweepers' sweeps."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from crackdet.core.console import exit_with_error
from crackdet.core.errors import UserError
from crackdet.store.sweep_record import SweepRecord

# Sweeps of Hydra's own sweepers: their folder, and whether to write a report. The callback adds them and Hydra ends
# them, or `finish_all` does after an error, when Hydra does not call the callback again.
pending_summaries: list[tuple[Path, bool]] = []


class SummaryCallback(Callback):
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check_chdir(config)
        if config.sweep.get("dry_run"):
            exit_with_error("sweep.dry_run=true: lists the runs of a sweep; give -m, or remove it to train this run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check_chdir(config)
        if not config.hydra.sweeper._target_.startswith("hydra_plugins.crackdet_"):
            for key in ("dry_run", "zip", "exclude"):
                if config.sweep.get(key):
                    exit_with_error(
                        f"sweep.{key}: is for crackdet's own sweepers, hydra/sweeper=crackdet and crackdet_optuna"
                    )
            directory = Path(config.hydra.sweep.dir)
            try:
                SweepRecord(directory).make(Path(config.runtime.store).expanduser())
            except UserError as error:
                exit_with_error(str(error))
            pending_summaries.append((directory, config.sweep.get("report", True)))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish_all()


def _check_chdir(config: DictConfig) -> None:
    if config.hydra.job.chdir:
        exit_with_error(
            "hydra.job.chdir=true: must be false; the paths of the run store, the data and the cache are relative to "
            "the current folder"
        )


def finish_all(status: int = 0) -> None:
    """Print and write the pending summaries.

    Raises:
        SystemExit: With `status` if it is not 0, or with 1 if a run failed.
    """
    from crackdet.sweep.finalize import finalize

    while pending_summaries:
        directory, report = pending_summaries.pop()
        if SweepRecord(directory).runs():
            finalize(directory, status, report)
