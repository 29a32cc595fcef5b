"""Searches over real runs: which they train, which they take from the store, and their results."""

import json
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf

from crackdet.analysis.search_results import FILE
from crackdet.store.failures import Failure, record_failure
from crackdet.store.integrity import read_result
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from tests.sweep.search.conftest import Sweep, SweepResult

SPACE = (
    "model.conv_out=[4,8],[8]",
    "model.linear_features=range(8,33,8)",
    "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))",
    "trainer.max_epochs=1",
)
KEYS = ("model.conv_out", "model.linear_features", "optimizer.learning_rate")


def search_json(outcome: SweepResult) -> dict:  # type: ignore[type-arg]
    return json.loads((outcome.folder / FILE).read_text())


def states(outcome: SweepResult) -> list[tuple[str, int]]:
    return sorted((run.id, run.history_file.stat().st_mtime_ns) for run in outcome.store.runs())


def test_a_search_continues_from_the_store_as_if_it_had_not_stopped(search: Sweep, tmp_path: Path) -> None:
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
    uninterrupted = {run.id for run in RunStore(tmp_path / "other").runs()}
    assert uninterrupted == {run.id for run in more.store.runs()}, "a seeded sampler suggests the same after a stop"
    assert search_json(more)["trials"] == {"complete": 5}


def test_the_runs_of_a_grid_are_the_first_trials_of_a_search(sweep: Sweep, search: Sweep) -> None:
    sweep("trainer.max_epochs=1", "model.linear_features=8,16,24", "optimizer.learning_rate=1e-3", "seed=0")
    outcome = search("trainer.max_epochs=1", "model.conv_out=[4,8]", "model.linear_features=range(8,33,8)",
                     "hydra.sweeper.n_trials=20")  # fmt: skip
    assert outcome.status == 0 and len(list(outcome.store.runs())) == 4, "the remaining one, then no more"
    assert search_json(outcome)["trials"] == {"complete": 4}
    assert len(outcome.summary) == 4, "the summary has all runs inside the space"


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii", "nsgaiii", "cmaes", "qmc", "gp", "grid"])
def test_every_sampler_suggests_values_of_the_space(search: Sweep, sweep: Sweep, sampler: str) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    outcome = sweep("hydra/sweeper=crackdet_optuna", f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=4",
                    "model.linear_features=range(8,33,8)", "optimizer.learning_rate=1e-3,1e-2",
                    "trainer.max_epochs=1")  # fmt: skip
    assert outcome.status == 0
    runs = outcome.settings("model.linear_features", "optimizer.learning_rate")
    assert len(set(runs)) == 4
    assert set(runs) <= {(width, rate) for width in (8, 16, 24, 32) for rate in (1e-3, 1e-2)}


def test_a_run_with_a_nan_loss_fails_and_the_search_continues(search: Sweep) -> None:
    space = ("optimizer=sgd", "optimizer.learning_rate=1e-3,1e-2,1e30", "trainer.max_epochs=1")
    outcome = search(*space, "hydra.sweeper.n_trials=9")
    assert outcome.status == 1
    assert search_json(outcome)["trials"] == {"complete": 2, "failed": 1}
    assert OmegaConf.load(outcome.folder / "optimization_results.yaml").best_params["optimizer.learning_rate"] < 1
    again = search(*space, "hydra.sweeper.n_trials=9")
    assert again.status == 1 and search_json(again) == search_json(outcome), "a NaN is not retried"


def test_a_search_ends_when_the_failure_rate_is_exceeded(search: Sweep) -> None:
    space = (
        "optimizer=sgd",
        "optimizer.learning_rate=1e30",
        "trainer.max_epochs=1",
        "model.linear_features=8,16,24,32",
    )
    outcome = search(*space, "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failure_rate=0.25")
    assert outcome.status == 1 and search_json(outcome)["trials"] == {"failed": 2}


def test_a_search_ends_with_the_weights_that_are_kept(search: Sweep) -> None:
    outcome = search("model.linear_features=8,16,24", "trainer.max_epochs=1", "runtime.keep_weights=best:1")
    decision = outcome.summary.decision
    assert decision is not None and len(decision.ranked_runs) == 3
    kept = {run.id for run in outcome.store.runs() if run.weights_file.exists()}
    assert kept == {decision.best.id, decision.recommended.id}


def test_a_trial_has_the_mean_of_its_seeds_and_ends_with_the_first_seed_that_fails(search: Sweep) -> None:
    space = ("optimizer=sgd", "optimizer.learning_rate=1e-2,1e30", "trainer.max_epochs=1", "seed=0,1")
    outcome = search(*space, "hydra.sweeper.n_trials=4")
    assert sorted(outcome.settings("optimizer.learning_rate", "seed")) == [(1e-2, 0), (1e-2, 1), (1e30, 0)]
    (best,) = search_json(outcome)["best"]
    accuracies = [outcome.store.run(run).snapshot().result["accuracy"] for run in best["runs"]]  # type: ignore[index]
    assert len(accuracies) == 2 and best["values"] == [sum(accuracies) / 2]


def test_a_conditional_parameter_is_suggested_only_with_its_option(search: Sweep) -> None:
    space = ("model.conv_out=[4,8]", "optimizer=adam,sgd", "optimizer.momentum=0.0,0.9", "trainer.max_epochs=1")
    outcome = search(*space, "hydra.sweeper.n_trials=9")
    assert outcome.status == 0
    assert {tuple(row) for row in outcome.settings("optimizer.name", "optimizer.momentum")} == {
        ("adam", None), ("sgd", 0.0), ("sgd", 0.9),
    }  # fmt: skip


def test_excluded_and_untrainable_suggestions_are_not_trained(search: Sweep) -> None:
    outcome = search("model.conv_out=[4,8],[2,2,2,2,2,2,2]", "model.linear_features=8,16,24", "trainer.max_epochs=1",
                     "sweep.exclude='model.linear_features == 16'", "hydra.sweeper.n_trials=9")  # fmt: skip
    assert outcome.status == 0
    assert sorted(outcome.settings(*KEYS[:2])) == [([4, 8], 8), ([4, 8], 24)]


def test_excluded_runs_of_the_store_are_not_trials(sweep: Sweep, search: Sweep) -> None:
    sweep("model.linear_features=8,16", "trainer.max_epochs=1")
    outcome = search("model.linear_features=8,16,24", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2",
                     "sweep.exclude='model.linear_features == 16'")  # fmt: skip
    assert sorted(outcome.settings("model.linear_features")) == [(8,), (24,)]


def test_runs_for_which_exclude_cannot_be_evaluated_are_not_trials(sweep: Sweep, search: Sweep) -> None:
    sweep("model.conv_out=[4]", "trainer.max_epochs=1")
    outcome = search("model.conv_out=[4],[4,8],[4,16]", "trainer.max_epochs=1", "hydra.sweeper.n_trials=3",
                     "sweep.exclude='model.conv_out[1] == 16'")  # fmt: skip
    assert outcome.status == 0 and outcome.settings("model.conv_out") == [([4, 8],)]


def test_a_repeated_search_succeeds_if_no_remaining_suggestion_can_be_trained(search: Sweep) -> None:
    deep = ",".join(str([width] * 7).replace(" ", "") for width in range(2, 9))
    space = (f"model.conv_out=[4],{deep}", "model.linear_features=4,5,6", "trainer.max_epochs=1",
             "hydra.sweeper.n_trials=24")  # fmt: skip
    for _ in range(2):  # the second time no remaining suggestion can be trained
        outcome = search(*space)
        assert outcome.status == 0 and len(list(outcome.store.runs())) == 3


def test_a_suggestion_is_excluded_if_one_of_its_seeds_is(search: Sweep) -> None:
    outcome = search("model.linear_features=8,16", "seed=0,1", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2",
                     "sweep.exclude='model.linear_features == 16 and seed == 1'")  # fmt: skip
    assert sorted(outcome.settings("model.linear_features", "seed")) == [(8, 0), (8, 1)]


def test_a_search_continues_if_much_of_its_space_cannot_be_trained(search: Sweep) -> None:
    outcome = search("model.conv_out=[4],[2,2,2,2,2,2,2],[4,4,4,4,4,4,4]", "trainer.max_epochs=1",
                     "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.n_trials=6")  # fmt: skip
    assert outcome.status == 0
    assert outcome.settings("model.conv_out") == [([4],)] * 6


def test_several_objectives_give_a_pareto_front_each_in_its_direction(search: Sweep) -> None:
    space = ("model.linear_features=8,16,24", "trainer.max_epochs=1", "hydra.sweeper.objectives=[accuracy,parameters]")
    outcome = search(*space, "hydra.sweeper.n_trials=3")
    results = [result for run in outcome.store.runs() if (result := read_result(run))]
    values = [(result["accuracy"], result["parameters"]) for result in results]
    best = [tuple(trial["values"]) for trial in search_json(outcome)["best"]]
    assert best and all(not any(a >= b[0] and p <= b[1] and (a, p) != b for a, p in values) for b in best), (
        "none is dominated"
    )
    assert min(parameters for _, parameters in values) in [parameters for _, parameters in best]
    assert len(OmegaConf.load(outcome.folder / "optimization_results.yaml").solutions) == len(best)


def test_a_run_without_an_objective_is_ignored_with_a_warning(
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
    assert len(search_json(outcome)["best"]) == 1


def test_ended_trials_are_written_to_a_users_storage_once(search: Sweep, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for number in (1, 3, 3):
        search("model.linear_features=8,16,24", "trainer.max_epochs=1", f"hydra.sweeper.n_trials={number}",
               f"hydra.sweeper.storage='{storage}'")  # fmt: skip
    trials = optuna.load_study(study_name="crackdet", storage=storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert {trial.params["model.linear_features"] for trial in trials} == {"8", "16", "24"}


def test_a_search_continues_without_a_storage_that_cannot_be_written(
    search: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"hydra.sweeper.storage='sqlite:///{tmp_path / 'study.db'}'"
    for _ in range(2):  # the second reads the runs of a trial in another order
        search("model.linear_features=8,16", "seed=1,0", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2", storage)
    assert len(optuna.load_study(study_name="crackdet", storage=storage.split("'")[1]).trials) == 2
    grown = search("model.linear_features=8,16,24", "seed=1,0", "trainer.max_epochs=1", "hydra.sweeper.n_trials=3",
                   storage)  # fmt: skip
    assert grown.status == 0 and len(list(grown.store.runs())) == 6
    assert "the search continues without it" in " ".join(capsys.readouterr().out.split())


def test_pruned_runs_are_listed_counted_and_can_be_finished(search: Sweep, sweep: Sweep) -> None:
    space = ("model.linear_features=8,16,24", "trainer.max_epochs=3")
    threshold = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=1.1", "hydra.sweeper.n_trials=2")
    outcome = search(*space, *threshold)
    assert outcome.status == 0, "a pruned run is not a failure"
    runs = list(outcome.store.runs())
    assert [run.status() for run in runs] == [Status.PRUNED] * 2
    assert [len(run.snapshot().history) for run in runs] == [1, 1]
    assert all(run.state_file.exists() for run in runs)
    assert "after epoch 1 of 3" in outcome.summary[0].reason
    again = search(*space, *threshold)
    assert [len(run.snapshot().history) for run in again.store.runs()] == [1, 1], "pruned runs count as trials"
    sweep(*space)
    assert [run.status() for run in runs] == [Status.FINISHED] * 2
    assert [[row["epoch"] for row in run.snapshot().history] for run in runs] == [["1", "2", "3"]] * 2
    assert not runs[0].failure_file.exists()


def test_a_pruned_run_that_is_finished_later_equals_one_that_was_never_pruned(
    search: Sweep, sweep: Sweep, tmp_path: Path
) -> None:
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


def test_an_interrupted_trial_is_resumed_before_a_new_suggestion(search: Sweep) -> None:
    space = ("model.linear_features=8,16,24", "trainer.max_epochs=2")
    threshold = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=1.1", "hydra.sweeper.n_trials=1")
    (run,) = search(*space, *threshold).store.runs()
    run.failure_file.unlink()  # as if stopped by Ctrl-C
    assert run.status() is Status.INTERRUPTED
    outcome = search(*space, "hydra.sweeper.n_trials=1")
    assert [run.status() for run in outcome.store.runs()] == [Status.FINISHED]


def test_a_retryable_failure_is_retried_by_the_next_search(search: Sweep) -> None:
    space = ("model.linear_features=8,16", "trainer.max_epochs=1", "hydra.sweeper.n_trials=2")
    (run, *_) = search(*space).store.runs()
    run.reset()
    run.directory.joinpath("identity.json").write_text("{}")
    outcome = search(*space)
    assert len(list(outcome.store.runs())) == 2
    (run, *_) = outcome.store.runs()
    run.result_file.unlink()
    record_failure(run, Failure.ERROR, "out of memory", attempts=1)
    assert run.status() is Status.FAILED
    assert {run.status() for run in search(*space).store.runs()} == {Status.FINISHED}


def test_a_dry_run_shows_the_known_trials_and_trains_nothing(search: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    search(*SPACE, "hydra.sweeper.n_trials=1")
    before = capsys.readouterr().out
    outcome = search(*SPACE, "hydra.sweeper.n_trials=5", "sweep.dry_run=true")
    assert "finished" in capsys.readouterr().out and before
    assert len(list(outcome.store.runs())) == 1 and not outcome.folder.exists()
