"""Searches in this process through Hydra's own machinery, over runs that take a second."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.types import HydraContext, RunMode
from hydra.utils import UNSAFE_DISABLE_EXECUTION_CHECKS, execution_whitelist

from crackdet.analysis.ranking import Summary, summarize
from crackdet.config.composing import CONF
from crackdet.config.groups import register
from crackdet.config.schema import flatten
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.search.space import Space
from crackdet.sweep.search.space_builder import build_space
from crackdet.sweep.selection import ExcludeFilter
from crackdet.sweep.task import run_job
from tests.conftest import TINY

optuna.logging.set_verbosity(optuna.logging.WARNING)

Sweep = Callable[..., "SweepResult"]
MakeSpace = Callable[..., tuple[Space, JobFactory]]


class SweepResult:
    """The exit status, the folder and the store of a sweep that has ended."""

    def __init__(self, status: int, folder: Path, store: Path) -> None:
        self.status, self.folder, self.store = status, folder, RunStore(store)

    @property
    def summary(self) -> Summary:
        return summarize(self.folder)

    def settings(self, *keys: str) -> list[tuple[object, ...]]:
        """Return these settings of each run, in the order of the suggestions."""
        run_ids = [line.split('"')[3] for line in (self.folder / "runs.jsonl").read_text().splitlines()]
        configs = [flatten(self.store.run(run_id).snapshot().config) for run_id in dict.fromkeys(run_ids)]
        return [tuple(config.get(key) for key in keys) for config in configs]


@pytest.fixture
def hydra(tmp_path: Path) -> Iterator[HydraContext]:
    register()
    setup_globals()
    with initialize_config_dir(str(CONF)):
        from hydra._internal.callbacks import Callbacks

        with execution_whitelist(UNSAFE_DISABLE_EXECUTION_CHECKS):  # as train.py
            yield HydraContext(
                config_loader=GlobalHydra.instance().config_loader(),
                callbacks=Callbacks(),
                execution_whitelist=UNSAFE_DISABLE_EXECUTION_CHECKS,
            )
    HydraConfig.instance().cfg = None


@pytest.fixture
def sweep(hydra: HydraContext, tmp_path: Path, base_overrides: list[str]) -> Sweep:
    """Sweep as `python train.py -m` does; each call has a folder of its own, all share one store."""
    calls = 0

    def run(*overrides: str, tiny: Sequence[str] = TINY) -> SweepResult:
        nonlocal calls
        calls += 1
        folder = tmp_path / f"sweep{calls}"
        line = [*tiny, *base_overrides, f"hydra.sweep.dir={folder}", "hydra.mode=MULTIRUN", *overrides]
        config = hydra.config_loader.load_configuration("config", line, run_mode=RunMode.MULTIRUN)
        sweeper = Plugins.instance().instantiate_sweeper(config=config, hydra_context=hydra, task_function=run_job)
        status = 0
        try:
            sweeper.sweep(list(config.hydra.overrides.task))
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return SweepResult(status, folder, tmp_path / "runs")

    return run


@pytest.fixture
def search(sweep: Sweep) -> Sweep:
    """Search with a seeded sampler."""

    def run(*overrides: str) -> SweepResult:
        keys = [override.partition("=")[0] for override in overrides]
        tiny = [override for override in TINY if override.partition("=")[0] not in keys]
        return sweep("hydra/sweeper=crackdet_optuna", "hydra.sweeper.sampler.seed=0", *overrides, tiny=tiny)

    return run


@pytest.fixture
def space(hydra: HydraContext, base_overrides: list[str]) -> MakeSpace:
    """Return the search space of some overrides, and the factory of its jobs."""

    def make(*overrides: str, exclude: str | None = None) -> tuple[Space, JobFactory]:
        config = hydra.config_loader.load_configuration("config", [*base_overrides], run_mode=RunMode.MULTIRUN)
        factory = JobFactory(hydra, config, ExcludeFilter(exclude))
        return build_space([*base_overrides, *overrides], {}, hydra, factory), factory

    return make
