"""The settings of a search, as `hydra.sweeper` has them, and the objects of Optuna that they name."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import UNSAFE_DISABLE_EXECUTION_CHECKS, instantiate
from optuna.exceptions import ExperimentalWarning

from crackdet.core.errors import UserError
from crackdet.sweep.search.objectives import NO_PRUNER, Objective

PACKAGES = {"CmaEsSampler": "cmaes", "QMCSampler": "scipy", "GPSampler": "scipy"}


@dataclass(frozen=True)
class SearchConfig:
    """`hydra.sweeper`: the keys of hydra-optuna-sweeper, and `objectives` and `pruner`."""

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
    def active_pruner(self) -> Mapping[str, Any] | None:
        """The pruner, or None if it never prunes."""
        return None if self.pruner is None or self.pruner.get("_target_") == NO_PRUNER else self.pruner

    def validate(self, objectives: Sequence[Objective]) -> None:
        """Raise UserError if a setting has no valid value or the objectives cannot be pruned by."""
        for kind, config in (("sampler", self.sampler), ("pruner", self.pruner)):
            if not (isinstance(config, Mapping) and config.get("_target_")) and (kind, config) != ("pruner", None):
                raise UserError(
                    f"hydra.sweeper.{kind}={config}: must be chosen by name, as in hydra/sweeper/{kind}=NAME"
                )
        for name, low in (("n_trials", 0), ("n_jobs", 1)):
            if getattr(self, name) < low:
                raise UserError(f"hydra.sweeper.{name}={getattr(self, name)}: must be >= {low}")
        if not 0 <= self.max_failure_rate <= 1:
            raise UserError(f"hydra.sweeper.max_failure_rate={self.max_failure_rate}: must be from 0 to 1")
        if self.custom_search_space is not None:
            raise UserError(
                "hydra.sweeper.custom_search_space: not supported. A parameter is suggested only with options that "
                "have it. For other conditions, use sweep.exclude or hydra/sweeper=optuna"
            )
        if self.active_pruner is not None and len(objectives) > 1:
            raise UserError(
                "hydra.sweeper.pruner: a search with several objectives cannot prune, since a run that is worse in "
                "one objective may be better in another; use hydra/sweeper/pruner=none"
            )
        if self.active_pruner is not None and objectives[0].column is None:
            raise UserError(
                f"hydra.sweeper.pruner: pruning by {objectives[0].name} is not possible, because its value is known "
                "only at the end of a run; set hydra/sweeper/pruner=none"
            )


def instantiate_component(kind: str, config: Mapping[str, Any]) -> Any:
    """Return the sampler or pruner that `hydra.sweeper.KIND` describes.

    Raises:
        UserError: If there is no such class, a package that it needs is missing, or it refuses a setting.
    """
    name = class_name(config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the user has chosen it
            arguments = {key: value for key, value in config.items() if key != "_target_"}  # may hold a built pruner
            target = {"_target_": config["_target_"]}
            return instantiate(target, **arguments, _execution_whitelist_=UNSAFE_DISABLE_EXECUTION_CHECKS)
    except (InstantiationException, TypeError, ValueError, ImportError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        text = missing_package(name, cause) if isinstance(cause, ImportError) else str(cause)
        raise UserError(f"hydra.sweeper.{kind}={name}: {text.partition(chr(10))[0]}") from None


def class_name(config: Mapping[str, Any]) -> str:
    """Return the last part of `_target_`."""
    return str(config.get("_target_", "")).rpartition(".")[2]


def missing_package(name: str, error: ImportError) -> str:
    """Return a message that names the package a class needs."""
    package = PACKAGES.get(name, error.name or "")
    return f"needs a package that is not installed: pip install {package}" if package else str(error)
