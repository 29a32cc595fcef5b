"""Searches over real runs: what they train, what they take from the store, what they tell."""

import json
from pathlib import Path

import optuna
import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from crackdet.analysis.search_results import FILE
from crackdet.core.errors import UserError
from crackdet.store.failures import Failure, record_failure
from crackdet.store.integrity import read_result
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.sweep.callback import SummaryCallback
from tests.sweep.search.conftest import Outcome, Sweep

SPACE = (
    "model.conv_out=[4,8],[8]",
    "model.linear_features=range(8,33,8)",
    "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))",
    "trainer.max_epochs=1",
)
KEYS = ("model.conv_out", "model.linear_features", "optimizer.learning_rate")


def found(outcome: Outcome) -> dict:  # type: ignore[type-arg]
    return json.loads((outcome.folder / FILE).read_text())  # type: ignore[no-any-return]


def states(outcome: Outcome) -> list[tuple[str, int]]:
    return sorted((run.id, run.history_file.stat().st_mtime_ns) for run in outcome.store.runs())


def test_a_search_goes_on_from_the_store_as_if_it_had_not_stopped(search: Sweep, tmp_path: Path) -> None:
    first = search(*SPACE, "hydra.sweeper.n_trials=2")
    before = states(first)
    more = search(*SPACE, "hydra.sweeper.n_trials=5", "sweep.report=true")
    assert first.status == more.status == 0
    assert len(list(more.store.runs())) == 5 and set(before) <= set(states(more)), "the first two are not trained again"
    again = search(*SPACE, "hydra.sweeper.n_trials=5", "sweep.report=true")
    assert (more.folder / "report.html").exists() and not (again.folder / "report.html").exists()
    assert states(again) == states(more) and len(again.summary) == 5
    other = f"runtime.store={tmp_path / 'other'}"
    search(*SPACE, "hydra.sweeper.n_trials=5", other)
    at_once = {run.id for run in RunStore(tmp_path / "other").runs()}
    assert at_once == {run.id for run in more.store.runs()}, "a seeded sampler suggests the same, stopped or not"
    assert found(more)["trials"] == {"complete": 5}


def test_a_grid_is_the_beginning_of_a_search(sweep: Sweep, search: Sweep) -> None:
    sweep("trainer.max_epochs=1", "model.linear_features=8,16,24", "optimizer.learning_rate=1e-3", "seed=0")
    outcome = search("trainer.max_epochs=1", "model.conv_out=[4,8]", "model.linear_features=range(8,33,8)",
                     "hydra.sweeper.n_trials=20")  # fmt: skip
    assert outcome.status == 0 and len(list(outcome.store.runs())) == 4, "the one that was left, then no more"
    assert found(outcome)["trials"] == {"complete": 4}
    assert len(outcome.summary) == 4, "the summary is of all that the search knows"


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii", "nsgaiii", "cmaes", "qmc", "grid"])
def test_every_sampler_suggests_what_is_in_the_space(search: Sweep, sweep: Sweep, sampler: str) -> None:
    if sampler in ("cmaes", "qmc"):
        pytest.importorskip({"cmaes": "cmaes", "qmc": "scipy"}[sampler])
    outcome = sweep("hydra/sweeper=crackdet_optuna", f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=4",
                    "model.linear_features=range(8,33,8)", "optimizer.learning_rate=1e-3,1e-2",
                    "trainer.max_epochs=1")  # fmt: skip
    assert outcome.status == 0
    runs = outcome.settings("model.linear_features", "optimizer.learning_rate")
    assert len(set(runs)) == 4
    assert set(runs) <= {(width, rate) for width in (8, 16, 24, 32) for rate in (1e-3, 1e-2)}


def test_nan_and_failures_are_told_as_failures_and_the_search_goes_on(search: Sweep) -> None:
    space = ("optimizer=sgd", "optimizer.learning_rate=1e-3,1e-2,1e30", "trainer.max_epochs=1")
    outcome = search(*space, "hydra.sweeper.n_trials=9")
    assert outcome.status == 1
    assert found(outcome)["trials"] == {"complete": 2, "failed": 1}
    assert OmegaConf.load(outcome.folder / "optimization_results.yaml").best_params["optimizer.learning_rate"] < 1
    again = search(*space, "hydra.sweeper.n_trials=9")
    assert again.status == 1 and found(again) == found(outcome), "a NaN is not tried again"


def test_too_many_failures_of_the_whole_end_a_search(search: Sweep) -> None:
    space = (
        "optimizer=sgd",
        "optimizer.learning_rate=1e30",
        "trainer.max_epochs=1",
        "model.linear_features=8,16,24,32",
    )
    outcome = search(*space, "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failure_rate=0.25")
    assert outcome.status == 1 and found(outcome)["trials"] == {"failed": 2}


def test_replicates_are_judged_by_their_mean_and_one_that_fails_is_not_followed(search: Sweep) -> None:
    space = ("optimizer=sgd", "optimizer.learning_rate=1e-2,1e30", "trainer.max_epochs=1", "seed=0,1")
    outcome = search(*space, "hydra.sweeper.n_trials=4")
    assert sorted(outcome.settings("optimizer.learning_rate", "seed")) == [(1e-2, 0), (1e-2, 1), (1e30, 0)]
    (best,) = found(outcome)["best"]
    accuracies = [outcome.store.run(run).result["accuracy"] for run in best["runs"]]  # type: ignore[index]
    assert len(accuracies) == 2 and best["values"] == [sum(accuracies) / 2]


def test_conditions_are_searched_over(search: Sweep) -> None:
    space = ("model.conv_out=[4,8]", "optimizer=adam,sgd", "optimizer.momentum=0.0,0.9", "trainer.max_epochs=1")
    outcome = search(*space, "hydra.sweeper.n_trials=9")
    assert outcome.status == 0
    assert {tuple(row) for row in outcome.settings("optimizer.name", "optimizer.momentum")} == {
        ("adam", None), ("sgd", 0.0), ("sgd", 0.9),
    }  # fmt: skip


def test_what_is_excluded_or_cannot_be_trained_is_not_suggested(search: Sweep) -> None:
    outcome = search("model.conv_out=[4,8],[2,2,2,2,2,2,2]", "model.linear_features=8,16,24", "trainer.max_epochs=1",
                     "sweep.exclude='model.linear_features == 16'", "hydra.sweeper.n_trials=9")  # fmt: skip
    assert outcome.status == 0
    assert sorted(outcome.settings(*KEYS[:2])) == [([4, 8], 8), ([4, 8], 24)]


def test_what_the_store_holds_of_the_excluded_lies_outside(sweep: Sweep, search: Sweep) -> None:
    sweep("model.linear_features=8,16", "trainer.max_epochs=1")
    outcome = search("model.linear_features=8,16,24", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2",
                     "sweep.exclude='model.linear_features == 16'")  # fmt: skip
    assert sorted(outcome.settings("model.linear_features")) == [(8,), (24,)]


def test_of_what_it_cannot_be_decided_whether_it_is_excluded_lies_outside(sweep: Sweep, search: Sweep) -> None:
    sweep("model.conv_out=[4]", "trainer.max_epochs=1")
    outcome = search("model.conv_out=[4],[4,8],[4,16]", "trainer.max_epochs=1", "hydra.sweeper.n_trials=3",
                     "sweep.exclude='model.conv_out[1] == 16'")  # fmt: skip
    assert outcome.status == 0 and outcome.settings("model.conv_out") == [([4, 8],)]


def test_a_search_that_has_found_something_may_be_given_again(search: Sweep) -> None:
    deep = ",".join(str([width] * 7).replace(" ", "") for width in range(2, 9))
    space = (f"model.conv_out=[4],{deep}", "model.linear_features=4,5,6", "trainer.max_epochs=1",
             "hydra.sweeper.n_trials=24")  # fmt: skip
    for _ in range(2):  # the second time all that is left cannot be trained
        outcome = search(*space)
        assert outcome.status == 0 and len(list(outcome.store.runs())) == 3


def test_a_suggestion_of_which_a_seed_is_excluded_is_not_made(search: Sweep) -> None:
    outcome = search("model.linear_features=8,16", "seed=0,1", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2",
                     "sweep.exclude='model.linear_features == 16 and seed == 1'")  # fmt: skip
    assert sorted(outcome.settings("model.linear_features", "seed")) == [(8, 0), (8, 1)]


def test_a_search_goes_on_where_much_of_its_space_cannot_be_trained(search: Sweep) -> None:
    outcome = search("model.conv_out=[4],[2,2,2,2,2,2,2],[4,4,4,4,4,4,4]", "trainer.max_epochs=1",
                     "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.n_trials=6")  # fmt: skip
    assert outcome.status == 0
    assert outcome.settings("model.conv_out") == [([4],)] * 6


def test_several_objectives_have_a_front_and_each_its_direction(search: Sweep) -> None:
    space = ("model.linear_features=8,16,24", "trainer.max_epochs=1", "hydra.sweeper.objectives=[accuracy,parameters]")
    outcome = search(*space, "hydra.sweeper.n_trials=3")
    results = [result for run in outcome.store.runs() if (result := read_result(run))]
    values = [(result["accuracy"], result["parameters"]) for result in results]
    best = [tuple(trial["values"]) for trial in found(outcome)["best"]]
    assert best and all(not any(a >= b[0] and p <= b[1] and (a, p) != b for a, p in values) for b in best), (
        "nothing is as good and cheaper"
    )
    assert min(parameters for _, parameters in values) in [parameters for _, parameters in best]
    assert len(OmegaConf.load(outcome.folder / "optimization_results.yaml").solutions) == len(best)


def test_a_run_without_an_objective_teaches_nothing_and_is_said(
    sweep: Sweep, search: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    space = ("model.linear_features=8,16", "trainer.max_epochs=1")
    (first, *_) = sweep(*space).store.runs()
    result = read_result(first)
    assert result is not None
    content = {key: value for key, value in result.items() if key not in ("id", "files", "feature_flops")}
    first.publish(content)
    outcome = search(*space, "hydra.sweeper.objectives=[feature_flops]", "hydra.sweeper.n_trials=2")
    assert "1 finished trials have no feature_flops" in capsys.readouterr().out
    assert len(found(outcome)["best"]) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra.sweeper.objectives=[acuracy]"], "hydra.sweeper.objectives=acuracy: .*did you mean accuracy"),
        (["hydra.sweeper.direction=up"], "hydra.sweeper.direction=up: must be maximize or minimize"),
        (["hydra.sweeper.direction=[maximize,minimize]"], "must be one for each objective"),
        (
            ["hydra.sweeper.objectives=[accuracy,loss]", "hydra/sweeper/pruner=median"],
            "several objectives cannot be pruned",
        ),
        (["hydra.sweeper.objectives=[parameters]", "hydra/sweeper/pruner=median"], "known at the end of a run only"),
        (["hydra.sweeper.n_trials=-1"], "hydra.sweeper.n_trials=-1: must be at least 0"),
        (["hydra/sweeper/pruner=threshold"], "hydra.sweeper.pruner=ThresholdPruner"),
        (["hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.reduction_factor=1"], "reduction_factor=1: must be"),
        (["hydra.sweeper.storage=sqlite:////nowhere/x.db"], "hydra.sweeper.storage=sqlite.*cannot use it"),
        (["hydra.sweeper.custom_search_space=a.b"], "custom_search_space: is not needed"),
        (["sweep.zip=[seed,seed]"], "sweep.zip: is for a grid"),
        (["runtime.retrain=true"], "runtime.retrain=true: a search trains no run twice"),
        (
            ["hydra.sweeper.sampler._target_=optuna.samplers.NoSuchSampler"],
            "hydra.sweeper.sampler=NoSuchSampler: Error locating target",
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


def test_a_users_storage_holds_the_trials_that_have_ended(search: Sweep, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for number in (1, 3, 3):
        search("model.linear_features=8,16,24", "trainer.max_epochs=1", f"hydra.sweeper.n_trials={number}",
               f"hydra.sweeper.storage='{storage}'")  # fmt: skip
    trials = optuna.load_study(study_name="crackdet", storage=storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert {trial.params["model.linear_features"] for trial in trials} == {"8", "16", "24"}


def test_a_users_storage_ends_no_search(search: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = f"hydra.sweeper.storage='sqlite:///{tmp_path / 'study.db'}'"
    for _ in range(2):  # the second reads the runs of a trial in another order
        search("model.linear_features=8,16", "seed=1,0", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2", storage)
    assert len(optuna.load_study(study_name="crackdet", storage=storage.split("'")[1]).trials) == 2
    grown = search("model.linear_features=8,16,24", "seed=1,0", "trainer.max_epochs=1", "hydra.sweeper.n_trials=3",
                   storage)  # fmt: skip
    assert grown.status == 0 and len(list(grown.store.runs())) == 6
    assert "the search goes on without it" in " ".join(capsys.readouterr().out.split())


def test_pruned_runs_are_listed_counted_and_finished_later(search: Sweep, sweep: Sweep) -> None:
    space = ("model.linear_features=8,16,24", "trainer.max_epochs=3")
    threshold = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=1.1", "hydra.sweeper.n_trials=2")
    outcome = search(*space, *threshold)
    assert outcome.status == 0, "pruned is no failure"
    runs = list(outcome.store.runs())
    assert [run.status() for run in runs] == [Status.PRUNED] * 2
    assert [len(run.snapshot().history) for run in runs] == [1, 1]
    assert all(run.state_file.exists() for run in runs)
    assert "after epoch 1 of 3" in outcome.summary[0].reason
    again = search(*space, *threshold)
    assert [len(run.snapshot().history) for run in again.store.runs()] == [1, 1], "they count as trials"
    sweep(*space)
    assert [run.status() for run in runs] == [Status.FINISHED] * 2
    assert [[row["epoch"] for row in run.snapshot().history] for run in runs] == [["1", "2", "3"]] * 2
    assert not runs[0].failure_file.exists()


def test_a_finished_pruned_run_is_as_one_that_was_never_pruned(search: Sweep, sweep: Sweep, tmp_path: Path) -> None:
    settings = ("model.linear_features=8,16", "trainer.max_epochs=3")
    search(*settings, "hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=1.1", "hydra.sweeper.n_trials=2")
    sweep(*settings)
    sweep(*settings, f"runtime.store={tmp_path / 'alone'}")
    for alone in RunStore(tmp_path / "alone").runs():
        pruned = Run(tmp_path / "runs", alone.id)
        alone_result, pruned_result = read_result(alone), read_result(pruned)
        assert alone_result is not None and pruned_result is not None
        assert alone_result["loss"] == pruned_result["loss"]
        assert alone.predictions_file.read_bytes() == pruned.predictions_file.read_bytes()


def test_what_was_interrupted_comes_first(search: Sweep) -> None:
    space = ("model.linear_features=8,16,24", "trainer.max_epochs=2")
    threshold = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=1.1", "hydra.sweeper.n_trials=1")
    (run,) = search(*space, *threshold).store.runs()
    run.failure_file.unlink()  # as if it had been stopped by Ctrl-C
    assert run.status() is Status.INTERRUPTED
    outcome = search(*space, "hydra.sweeper.n_trials=1")
    assert [run.status() for run in outcome.store.runs()] == [Status.FINISHED]


def test_a_failure_that_may_be_luck_is_tried_again_by_the_next_search(search: Sweep) -> None:
    space = ("model.linear_features=8,16", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2")
    (run, *_) = search(*space).store.runs()
    run.reset()
    run.directory.joinpath("identity.json").write_text("{}")
    outcome = search(*space)
    assert len(list(outcome.store.runs())) == 2
    (run, *_) = outcome.store.runs()
    run.result_file.unlink()
    record_failure(run, Failure.ERROR, "no luck", attempts=1)
    assert run.status() is Status.FAILED
    assert {run.status() for run in search(*space).store.runs()} == {Status.FINISHED}


def test_a_plan_shows_what_is_known_and_trains_nothing(search: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    search(*SPACE, "hydra.sweeper.n_trials=1")
    before = capsys.readouterr().out
    outcome = search(*SPACE, "hydra.sweeper.n_trials=5", "sweep.dry_run=true")
    assert "finished" in capsys.readouterr().out and before
    assert len(list(outcome.store.runs())) == 1 and not outcome.folder.exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=0,1", "sweep.exclude='seed >= 0'"], "sweep.exclude leaves nothing to train"),
        (["seed=0,1", "hydra.sweep.dir=/dev/null/sweep"], "hydra.sweep.dir=/dev/null/sweep: cannot be made"),
        (["hydra/sweeper=crackdet_optuna", *SPACE, "hydra.sweep.dir=/dev/null/sweep"], "/dev/null/sweep: cannot be"),
        (
            ["hydra/sweeper=crackdet_optuna", "model.linear_features=8,16", "seed=0,1", "sweep.exclude='seed == 1'"],
            "sweep.exclude leaves nothing to search over",
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
def test_what_would_not_mean_what_it_says_is_refused_before_hydra_begins(
    hydra: HydraContext, overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = hydra.config_loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)
    callback = SummaryCallback()
    with pytest.raises(SystemExit) as refused:
        (callback.on_multirun_start if "MULTIRUN" in overrides[0] else callback.on_run_start)(config)
    assert refused.value.code == 2 and message in capsys.readouterr().err


def test_hydra_finds_both_sweepers() -> None:
    found = {sweeper.__name__ for sweeper in Plugins.instance().discover(Sweeper)}
    assert {"GridSweeper", "OptunaSweeper", "BasicSweeper"} <= found


def test_a_job_that_cannot_even_begin_ends_the_search(search: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    from crackdet.running import job

    def refused(*_: object) -> None:
        raise UserError("this machine has no such device")

    monkeypatch.setattr(job, "execute", refused)
    outcome = search(*SPACE, "hydra.sweeper.n_trials=2")
    assert outcome.status == 1 and not list(outcome.store.runs())
