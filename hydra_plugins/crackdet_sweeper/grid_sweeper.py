"""`hydra/sweeper=crackdet`: the grid, the default of -m."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.crackdet_sweeper._base import CrackdetSweeper


@dataclass
class GridSweeperConfig:
    _target_: str = "hydra_plugins.crackdet_sweeper.grid_sweeper.GridSweeper"
    params: dict[str, str] = field(default_factory=dict)  # overrides of every sweep
    points: list[list[str]] = field(default_factory=list)  # lists of overrides; the grid is trained at each of them


ConfigStore.instance().store(group="hydra/sweeper", name="crackdet", node=GridSweeperConfig, provider="crackdet")


class GridSweeper(CrackdetSweeper):
    def __init__(self, params: dict[str, str], points: list[list[str]]) -> None:
        self.params = params
        self.points = points

    def sweep(self, arguments: list[str]) -> Any:
        from crackdet.sweep.grid import sweep

        return sweep(self.overrides(arguments), self.points, *self.job_context, self.launcher)
