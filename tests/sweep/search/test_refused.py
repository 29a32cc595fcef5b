"""Searches and sweeps that are refused before anything is trained."""

from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode

from crackdet.core.errors import UserError
from crackdet.sweep.callback import SummaryCallback
from tests.sweep.search.conftest import Sweep

SPACE = ("model.linear_features=range(8,33,8)", "trainer.max_epochs=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra.sweeper.objectives=[acuracy]"], "hydra.sweeper.objectives=acuracy: .*did you mean accuracy"),
        (["hydra.sweeper.direction=up"], "hydra.sweeper.direction=up: must be maximize or minimize"),
        (["hydra.sweeper.direction=[maximize,minimize]"], "must be one direction for each objective"),
        (
            ["hydra.sweeper.objectives=[accuracy,loss]", "hydra/sweeper/pruner=median"],
            "several objectives cannot prune",
        ),
        (
            ["hydra.sweeper.objectives=[parameters]", "hydra/sweeper/pruner=median"],
            "pruning by parameters is not possible",
        ),
        (["hydra.sweeper.n_trials=-1"], "hydra.sweeper.n_trials=-1: must be >= 0"),
        (["hydra/sweeper/pruner=threshold"], "hydra.sweeper.pruner=ThresholdPruner"),
        (["hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.reduction_factor=1"], "reduction_factor=1: must be"),
        (["hydra.sweeper.storage=sqlite:////nowhere/x.db"], "hydra.sweeper.storage=sqlite.*cannot use this storage"),
        (["hydra.sweeper.custom_search_space=a.b"], "custom_search_space: not supported"),
        (["sweep.zip=[seed,seed]"], "sweep.zip: not possible in a search"),
        (["runtime.retrain=true"], "runtime.retrain=true: not possible in a search"),
        (
            ["hydra.sweeper.sampler._target_=optuna.samplers.NoSuchSampler"],
            "hydra.sweeper.sampler=NoSuchSampler: Error loading",
        ),
        (["data.image_size=32", "model.weights=nowhere.pth"], "nowhere.pth: there is no such file"),
    ],
)
def test_a_search_that_cannot_begin_is_refused(
    search: Sweep, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        search("model.linear_features=8,16", *overrides)
    assert not list((tmp_path / "runs").glob("*/history.csv"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=0,1", "sweep.exclude='seed >= 0'"], "sweep.exclude: excludes every combination"),
        (["seed=0,1", "hydra.sweep.dir=/dev/null/sweep"], "hydra.sweep.dir=/dev/null/sweep: cannot be created"),
        (["hydra/sweeper=crackdet_optuna", *SPACE, "hydra.sweep.dir=/dev/null/sweep"], "/dev/null/sweep: cannot be"),
        (
            ["hydra/sweeper=crackdet_optuna", "model.linear_features=8,16", "seed=0,1", "sweep.exclude='seed == 1'"],
            "sweep.exclude: excludes every suggestion",
        ),
    ],
)
def test_a_sweep_that_cannot_begin_is_refused(sweep: Sweep, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sweep(*overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: must be false"),
        (["hydra.mode=MULTIRUN", "hydra.job.chdir=true"], "hydra.job.chdir=true: must be false"),
        (["hydra.mode=MULTIRUN", "hydra/sweeper=basic", "sweep.dry_run=true"], "sweep.dry_run: is for crackdet's own"),
        (["hydra.mode=MULTIRUN", "hydra/sweeper=optuna", "sweep.zip=[seed]"], "sweep.zip: is for crackdet's own"),
        (["sweep.dry_run=true"], "sweep.dry_run=true: lists the runs of a sweep; give -m"),
    ],
)
def test_settings_that_would_be_ignored_are_refused_before_hydra_begins(
    hydra: HydraContext, overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = hydra.config_loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)
    callback = SummaryCallback()
    with pytest.raises(SystemExit) as refused:
        (callback.on_multirun_start if "MULTIRUN" in overrides[0] else callback.on_run_start)(config)
    assert refused.value.code == 2 and message in capsys.readouterr().err


def test_a_search_ends_if_its_jobs_cannot_begin(search: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    from crackdet.sweep import task

    def refused(*_: object) -> None:
        raise UserError("this machine has no such device")

    monkeypatch.setattr(task, "execute", refused)
    outcome = search(*SPACE, "hydra.sweeper.n_trials=2")
    assert outcome.status == 1 and not list(outcome.store.runs())


def test_hydra_discovers_the_sweepers() -> None:
    found = {sweeper.__name__ for sweeper in Plugins.instance().discover(Sweeper)}
    assert {"GridSweeper", "OptunaSweeper", "BasicSweeper"} <= found
