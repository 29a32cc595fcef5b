"""The summary at the end of sweeps by Hydra's own sweepers, which know nothing of it."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SummaryCallback(Callback):
    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from crackdet.sweep.finish import finish
        from crackdet.sweep.record import SweepRecord

        directory = Path(config.hydra.sweep.dir)
        if not config.hydra.sweeper._target_.startswith("hydra_plugins.crackdet_") and SweepRecord(directory).runs():
            finish(directory)
