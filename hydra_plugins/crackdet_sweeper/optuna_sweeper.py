"""`hydra/sweeper=crackdet_optuna`: the search, with the settings of hydra-optuna-sweeper and some more."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from hydra_plugins.crackdet_sweeper._base import CrackdetSweeper


@dataclass
class OptunaSweeperConfig:
    _target_: str = "hydra_plugins.crackdet_sweeper.optuna_sweeper.OptunaSweeper"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}])

    sampler: Any = MISSING  # hydra/sweeper/sampler=tpe, random, cmaes, nsgaii, nsgaiii, gp, qmc, grid
    pruner: Any = MISSING  # hydra/sweeper/pruner=none, median, percentile, successive_halving, hyperband, ...
    objectives: list[str] = field(default_factory=lambda: ["accuracy"])  # numbers in result.json
    direction: Any = None  # maximize, minimize or a list of them; null: the natural direction of each
    storage: Any = None  # an Optuna storage to write the trials to, for a dashboard; not needed
    study_name: str | None = None  # in the storage
    n_trials: int = 20  # the total, with those that are in the store
    n_jobs: int = 2  # trials at the same time, with a parallel launcher
    max_failure_rate: float = 1.0  # more failures than this share of n_trials end the search
    search_space: dict[str, Any] | None = None
    custom_search_space: str | None = None
    params: dict[str, str] | None = None


@dataclass
class NoPruner:
    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class Median:
    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5  # finished runs before the first is pruned
    n_warmup_steps: int = 0  # epochs before a run can be pruned
    interval_steps: int = 1  # epochs
    n_min_trials: int = 1  # with a value at the same epoch


@dataclass
class Percentile(Median):
    _target_: str = "optuna.pruners.PercentilePruner"
    percentile: float = 25.0  # of the runs are kept


@dataclass
class SuccessiveHalving:
    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: Any = 1  # epochs before a run can be pruned; auto: a hundredth of trainer.max_epochs
    reduction_factor: int = 4  # one run of so many continues, for so many times the epochs
    min_early_stopping_rate: int = 0
    bootstrap_count: int = 0


@dataclass
class Hyperband:
    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 1  # epochs
    max_resource: Any = "auto"  # auto: trainer.max_epochs
    reduction_factor: int = 3
    bootstrap_count: int = 0


@dataclass
class Patient:
    _target_: str = "optuna.pruners.PatientPruner"
    patience: int = 3  # epochs without a better value before the wrapped pruner decides
    min_delta: float = 0.0
    wrapped_pruner: Any = None  # null: prune then


@dataclass
class Threshold:
    _target_: str = "optuna.pruners.ThresholdPruner"
    lower: float | None = None  # prune a run with a value below it
    upper: float | None = None
    n_warmup_steps: int = 0  # epochs
    interval_steps: int = 1


store = ConfigStore.instance()
store.store(group="hydra/sweeper", name="crackdet_optuna", node=OptunaSweeperConfig, provider="crackdet")
for name, node in {
    "none": NoPruner,
    "median": Median,
    "percentile": Percentile,
    "successive_halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "patient": Patient,
    "threshold": Threshold,
}.items():
    store.store(group="hydra/sweeper/pruner", name=name, node=node, provider="crackdet")


class OptunaSweeper(CrackdetSweeper):
    def __init__(self, params: DictConfig | None, **settings: Any) -> None:
        self.params: dict[str, str] = _to_plain(params or {})
        self.settings = {name: _to_plain(value) for name, value in settings.items()}

    def sweep(self, arguments: list[str]) -> Any:
        from crackdet.sweep.search.loop import search  # imports optuna: half a second
        from crackdet.sweep.search.search_config import SearchConfig

        return search(self.overrides(arguments), SearchConfig(**self.settings), *self.job_context, self.launcher)


def _to_plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
