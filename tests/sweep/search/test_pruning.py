"""Pruners over histories in the store: what they see, and that every process sees the same."""

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
from crackdet.sweep.search.objectives import Objective
from crackdet.sweep.search.pruners import STUDY, bracket_of, build_pruner, rungs_of
from crackdet.sweep.search.pruning import HistoryPruner, PruningSpec
from crackdet.sweep.search.space import Space
from crackdet.sweep.search.space_builder import JobFactory
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
    """A store of runs that have histories and nothing else."""

    def __init__(self, folder: Path, space: Space, planner: JobFactory) -> None:
        self.runs, self.space, self._planner = RunStore(folder), space, planner

    def add(self, width: int, accuracies: Sequence[float], finished: bool, seed: str = "0") -> Run:
        job = self._planner.job(self.space.overrides({"model.linear_features": width}, seed))
        run = self.runs.run(job.run.id)
        write_json(run.identity_file, json.loads(job.identity.canonical))
        if accuracies:
            write_csv(run.history_file, history(accuracies))
        if finished:
            run.publish({"accuracy": max(accuracies), "loss": 0.5, "epoch": 1, "parameters": 1, "seconds": 1.0})
        return run

    def board(self, pruner: dict[str, Any]) -> HistoryPruner:
        return HistoryPruner(PruningSpec(self.space, ACCURACY, EPOCHS), self.runs, pruner)


def history(accuracies: Sequence[float]) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "valid_accuracy": value} for epoch, value in enumerate(accuracies, 1)]


@pytest.fixture
def store(space: MakeSpace, tmp_path: Path) -> Store:
    found, planner = space("model.linear_features=range(1,400)", "model.conv_out=[4]", "data.image_size=32", "seed=0,1")
    return Store(tmp_path / "runs", found, planner)


def test_a_run_below_the_median_of_the_finished_runs_is_pruned(store: Store) -> None:
    store.add(1, [0.8, 0.9], finished=True)
    board = store.board(MEDIAN)
    own = store.add(50, [], finished=False)
    assert board.judge(own, history([0.1])) is None, "one run is no beginning"
    store.add(2, [0.6, 0.7], finished=True)
    assert board.judge(own, history([0.71])) is None
    reason = board.judge(own, history([0.69]))
    assert reason == f"after epoch 1 of {EPOCHS}, accuracy 0.6900 (MedianPruner)"
    assert board.judge(own, history([0.69, 0.85])) is None, "its best epoch counts"


def test_replicates_are_compared_with_runs_of_their_seed(store: Store) -> None:
    for width in (1, 2, 3):
        store.add(width, [0.9], finished=True, seed="1")
        store.add(width, [0.5], finished=True, seed="0")
    board = store.board(MEDIAN)
    assert board.judge(store.add(50, [], finished=False, seed="0"), history([0.6])) is None
    assert board.judge(store.add(50, [], finished=False, seed="1"), history([0.6])) is not None


def test_runs_outside_the_space_are_not_looked_at(store: Store, space: MakeSpace, tmp_path: Path) -> None:
    for width in (1, 2, 3):
        store.add(width, [0.5], finished=True)
    found, planner = space("model.linear_features=range(1,400)", "model.conv_out=[8]", "data.image_size=32", "seed=0,1")
    other = Store(tmp_path / "runs", found, planner)
    for width in (1, 2, 3, 4):
        other.add(width, [0.99], finished=True)
    assert store.board(MEDIAN).judge(store.add(50, [], finished=False), history([0.6])) is None


def test_halving_sees_runs_of_other_processes_while_they_grow(store: Store) -> None:
    board = store.board(HALVING)
    own = store.add(50, [], finished=False)
    assert board.judge(own, history([0.6])) is None
    for width, accuracy in ((1, 0.7), (2, 0.8), (3, 0.9)):
        store.add(width, [accuracy], finished=False)
    assert board.judge(own, history([0.6])) is not None
    assert board.judge(own, history([0.95])) is None
    for width in (1, 2, 3):
        store.add(width, [0.9, 0.9, 0.99], finished=False)
    assert board.judge(own, history([0.95, 0.95])) is None, "two epochs are no rung"
    assert board.judge(own, history([0.95, 0.95, 0.95])) is not None


@pytest.mark.parametrize("pruner", [HALVING, HYPERBAND, {**HALVING, "min_early_stopping_rate": 1}])
def test_rungs_of_the_past_are_those_that_optuna_would_have_noted(pruner: dict[str, Any]) -> None:
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


def test_a_bracket_follows_from_the_run_id_in_every_process(store: Store) -> None:
    own = store.add(50, [], finished=False)
    for width in range(1, 40):
        store.add(width, [width / 40] * 3, finished=False)
    assert len({store.board(HYPERBAND).judge(own, history([0.5] * 3)) for _ in range(3)}) == 1
    line = [sys.executable, "-W", "ignore", "-c", BRACKET]
    brackets = {subprocess.run(line, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(brackets) == 1 and brackets != {""}
    counts = [bracket_of(number, [9, 5, 3]) for number in range(1700)]
    assert [round(counts.count(bracket) / 100) for bracket in range(3)] == [9, 5, 3]


def test_damaged_histories_and_half_written_runs_do_not_stop_a_search(store: Store) -> None:
    for width in (1, 2, 3):
        store.add(width, [0.5], finished=True)
    broken = store.add(4, [0.5], finished=False)
    broken.history_file.write_bytes(b"epoch,valid_accuracy\n1,abc\n\xff\xfe")
    (store.runs.root / "custom-000000000000").mkdir()
    assert store.board(MEDIAN).judge(store.add(50, [], finished=False), history([0.6])) is None
