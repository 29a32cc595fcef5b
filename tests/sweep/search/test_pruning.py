"""Pruners see the histories of the runs in the store, and every process sees the same."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from crackdet.core.files import write_csv, write_json
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.search.objectives import Objective
from crackdet.sweep.search.pruners import STUDY, bracket_of, build_pruner, rungs_of
from crackdet.sweep.search.pruning import HistoryPruner, PruningSpec
from crackdet.sweep.search.space import Space
from tests.sweep.search.conftest import MakeSpace

EPOCHS = 9
MEDIAN = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2}
HALVING = {"_target_": "optuna.pruners.SuccessiveHalvingPruner", "min_resource": 1, "reduction_factor": 3}
HYPERBAND = {
    "_target_": "optuna.pruners.HyperbandPruner",
    "min_resource": 1,
    "max_resource": "auto",
    "reduction_factor": 3,
}
BRACKET = f"""
from types import SimpleNamespace
from crackdet.sweep.search.pruners import build_pruner
pruner = build_pruner({HYPERBAND}, {EPOCHS})
pruner._try_initialization(None)
print(pruner._get_bracket_id(SimpleNamespace(study_name="crackdet"), SimpleNamespace(number=77)))
"""
ACCURACY = Objective("accuracy", "maximize")


class Store:
    """A store of runs that have an identity and a history only."""

    def __init__(self, folder: Path, space: Space, factory: JobFactory) -> None:
        self.runs, self.space, self._factory = RunStore(folder), space, factory

    def add(self, width: int, accuracies: Sequence[float], finished: bool, seed: str = "0") -> Run:
        job = self._factory.job(self.space.overrides({"model.linear_features": width}, seed))
        run = self.runs.run(job.run.id)
        run.directory.mkdir(parents=True, exist_ok=True)
        write_json(run.identity_file, json.loads(job.identity.canonical))
        if accuracies:
            write_csv(run.history_file, history(accuracies))
        if finished:
            run.publish({"accuracy": max(accuracies), "loss": 0.5, "epoch": 1, "parameters": 1, "seconds": 1.0})
        return run

    def pruner(self, config: dict[str, Any]) -> HistoryPruner:
        return HistoryPruner(PruningSpec(self.space, ACCURACY, EPOCHS), self.runs, config)


def history(accuracies: Sequence[float]) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "valid_accuracy": value} for epoch, value in enumerate(accuracies, 1)]


@pytest.fixture
def store(space: MakeSpace, tmp_path: Path) -> Store:
    made, factory = space("model.linear_features=range(1,400)", "model.conv_out=[4]", "data.image_size=32", "seed=0,1")
    return Store(tmp_path / "runs", made, factory)


def test_a_run_below_the_median_of_the_finished_runs_is_pruned(store: Store) -> None:
    store.add(1, [0.8, 0.9], finished=True)
    pruner = store.pruner(MEDIAN)
    own = store.add(50, [], finished=False)
    assert pruner.prune_reason(own, history([0.1])) is None, "fewer than n_startup_trials"
    store.add(2, [0.6, 0.7], finished=True)
    assert pruner.prune_reason(own, history([0.71])) is None
    reason = pruner.prune_reason(own, history([0.69]))
    assert reason == f"after epoch 1 of {EPOCHS}, accuracy 0.6900 (MedianPruner)"
    assert pruner.prune_reason(own, history([0.69, 0.85])) is None, "its best epoch counts"


def test_replicates_are_compared_with_runs_of_their_seed(store: Store) -> None:
    for width in (1, 2, 3):
        store.add(width, [0.9], finished=True, seed="1")
        store.add(width, [0.5], finished=True, seed="0")
    pruner = store.pruner(MEDIAN)
    assert pruner.prune_reason(store.add(50, [], finished=False, seed="0"), history([0.6])) is None
    assert pruner.prune_reason(store.add(50, [], finished=False, seed="1"), history([0.6])) is not None


def test_runs_outside_the_space_are_not_compared_with(store: Store, space: MakeSpace, tmp_path: Path) -> None:
    for width in (1, 2, 3):
        store.add(width, [0.5], finished=True)
    made, factory = space("model.linear_features=range(1,400)", "model.conv_out=[8]", "data.image_size=32", "seed=0,1")
    other = Store(tmp_path / "runs", made, factory)
    for width in (1, 2, 3, 4):
        other.add(width, [0.99], finished=True)
    assert store.pruner(MEDIAN).prune_reason(store.add(50, [], finished=False), history([0.6])) is None


def test_halving_sees_runs_of_other_processes_while_they_grow(store: Store) -> None:
    pruner = store.pruner(HALVING)
    own = store.add(50, [], finished=False)
    assert pruner.prune_reason(own, history([0.6])) is None
    for width, accuracy in ((1, 0.7), (2, 0.8), (3, 0.9)):
        store.add(width, [accuracy], finished=False)
    assert pruner.prune_reason(own, history([0.6])) is not None
    assert pruner.prune_reason(own, history([0.95])) is None
    for width in (1, 2, 3):
        store.add(width, [0.9, 0.9, 0.99], finished=False)
    assert pruner.prune_reason(own, history([0.95, 0.95])) is None, "there is no rung at epoch 2"
    assert pruner.prune_reason(own, history([0.95, 0.95, 0.95])) is not None


@pytest.mark.parametrize("pruner", [HALVING, HYPERBAND, {**HALVING, "min_early_stopping_rate": 1}])
def test_the_rungs_computed_from_values_are_those_that_optuna_notes(pruner: dict[str, Any]) -> None:
    study = optuna.create_study(study_name=STUDY, direction="maximize", pruner=build_pruner(pruner, EPOCHS))
    reached = rungs_of(pruner, EPOCHS)
    for number in range(12):
        asked = study.ask()
        values = {}
        for epoch in range(1, EPOCHS + 1):
            values[epoch] = number / 12 + epoch / 1000
            asked.report(values[epoch], epoch)
            if asked.should_prune():
                break
        frozen = study.trials[number]
        noted = {key: value for key, value in frozen.system_attrs.items() if key.startswith("completed_rung")}
        assert noted == reached(number, values)


def test_a_bracket_depends_only_on_the_run_id(store: Store) -> None:
    own = store.add(50, [], finished=False)
    for width in range(1, 40):
        store.add(width, [width / 40] * 3, finished=False)
    assert len({store.pruner(HYPERBAND).prune_reason(own, history([0.5] * 3)) for _ in range(3)}) == 1
    line = [sys.executable, "-W", "ignore", "-c", BRACKET]
    brackets = {subprocess.run(line, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(brackets) == 1 and brackets != {""}
    counts = [bracket_of(number, [9, 5, 3]) for number in range(1700)]
    assert [round(counts.count(bracket) / 100) for bracket in range(3)] == [9, 5, 3]


def test_damaged_histories_and_incomplete_runs_are_skipped(store: Store) -> None:
    for width in (1, 2, 3):
        store.add(width, [0.5], finished=True)
    broken = store.add(4, [0.5], finished=False)
    broken.history_file.write_bytes(b"epoch,valid_accuracy\n1,abc\n\xff\xfe")
    (store.runs.root / "custom-000000000000").mkdir()
    assert store.pruner(MEDIAN).prune_reason(store.add(50, [], finished=False), history([0.6])) is None


def test_a_patient_pruner_wraps_the_pruner_that_it_is_given() -> None:
    config = {"_target_": "optuna.pruners.PatientPruner", "wrapped_pruner": MEDIAN, "patience": 1}
    pruner = build_pruner(config, EPOCHS)
    assert isinstance(pruner, optuna.pruners.PatientPruner)
    assert isinstance(pruner._wrapped_pruner, optuna.pruners.MedianPruner)
