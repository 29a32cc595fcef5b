"""The settings of a search, as `hydra.sweeper` has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crackdet.core.errors import UserError
from crackdet.running.job import NO_PRUNER
from crackdet.sweep.search.objectives import Objective


@dataclass(frozen=True)
class SearchConfig:
    """`hydra.sweeper`, by the keys of hydra-optuna-sweeper and some more."""

    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any] | None = None
    objectives: Sequence[str] = ("accuracy",)
    direction: Any = None
    storage: Any = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: int = 2
    max_failure_rate: float = 1.0
    search_space: Mapping[str, Any] | None = None
    custom_search_space: str | None = None

    @property
    def pruning(self) -> Mapping[str, Any] | None:
        """The pruner, unless it is one that never prunes."""
        return None if self.pruner is None or self.pruner.get("_target_") == NO_PRUNER else self.pruner

    def check(self, objectives: Sequence[Objective]) -> None:
        """Raises UserError where a number is out of its range, or the pruner has nothing to go by."""
        for name, low in (("n_trials", 0), ("n_jobs", 1)):
            if getattr(self, name) < low:
                raise UserError(f"hydra.sweeper.{name}={getattr(self, name)}: must be at least {low}")
        if not 0 <= self.max_failure_rate <= 1:
            raise UserError(f"hydra.sweeper.max_failure_rate={self.max_failure_rate}: must be from 0 to 1")
        if self.custom_search_space is not None:
            raise UserError(
                "hydra.sweeper.custom_search_space: is not needed, what the chosen options do not have is left out of "
                "a suggestion; for other conditions there are sweep.exclude and hydra/sweeper=optuna"
            )
        if self.pruning is not None and len(objectives) > 1:
            raise UserError(
                "hydra.sweeper.pruner: several objectives cannot be pruned, a run that is worse in one of them may be "
                "better in another; say hydra/sweeper/pruner=none"
            )
        if self.pruning is not None and objectives[0].column is None:
            raise UserError(
                f"hydra.sweeper.pruner: {objectives[0].name} is known at the end of a run only, so none can be pruned "
                "by it; say hydra/sweeper/pruner=none"
            )
