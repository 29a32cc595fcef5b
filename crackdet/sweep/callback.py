"""The summary at the end of sweeps by Hydra's own sweepers, which know nothing of it."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

# folders of sweeps whose end Hydra has not told (it does not when one stops half-way), and whether to report them
unfinished: list[tuple[Path, bool]] = []


class SummaryCallback(Callback):
    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not config.hydra.sweeper._target_.startswith("hydra_plugins.crackdet_"):
            unfinished.append((Path(config.hydra.sweep.dir), config.sweep.get("report", True)))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish_all()


def finish_all(status: int = 0) -> None:
    """Prints and writes the summaries that are owed.

    Raises:
        SystemExit: with `status` where that is not 0, or with 1 where a run failed.
    """
    from crackdet.sweep.finish import finish
    from crackdet.sweep_record import SweepRecord

    while unfinished:
        directory, report = unfinished.pop()
        if SweepRecord(directory).runs():
            finish(directory, status, report)
