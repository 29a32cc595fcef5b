"""`hydra/sweeper=crackdet`: the grid, the default for -m."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GridSweeperConfig:
    _target_: str = "hydra_plugins.crackdet_sweeper.grid_sweeper.GridSweeper"
    params: dict[str, str] = field(default_factory=dict)  # overrides that are always swept over
    points: list[list[str]] = field(default_factory=list)  # lists of overrides: the grid is run at each of them


ConfigStore.instance().store(group="hydra/sweeper", name="crackdet", node=GridSweeperConfig, provider="crackdet")


class GridSweeper(Sweeper):
    def __init__(self, params: dict[str, str], points: list[list[str]]) -> None:
        self.params = params
        self.points = points

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.job_context = (hydra_context, config)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from crackdet.sweep.grid import sweep

        overrides = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        return sweep(overrides, self.points, *self.job_context, self.launcher)
