"""The base class of crackdet's sweepers."""

from collections.abc import Mapping

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CrackdetSweeper(Sweeper):
    """Keeps what Hydra hands to a sweeper. Abstract, so Hydra does not register it."""

    params: Mapping[str, str]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.job_context = (hydra_context, config)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def overrides(self, arguments: list[str]) -> list[str]:
        """Return the overrides of `hydra.sweeper.params` and of the command line."""
        return [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
