"""Two searches over one store: what one has suggested the other knows, until it has ended or died."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from crackdet.core.files import write_json
from crackdet.store.failures import Failure, record_attempt, record_failure
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.history import History, Outcome
from crackdet.sweep.search.objectives import Objective, parse_objectives
from crackdet.sweep.search.proposer import Proposer
from crackdet.sweep.search.reservations import FOLDER, Reservations
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.study_sync import StudySync
from tests.conftest import TINY
from tests.sweep.search.conftest import MakeSpace

BEST = [Objective("accuracy", "maximize")]
HOLD = """
import sys, time
from pathlib import Path
from crackdet.core.files import write_json
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.reservations import Reservations
with Reservations(RunStore(Path(sys.argv[1]))) as bookings:
    write_json(bookings._file, {"identities": [{"model": {"name": "custom"}}]})
    print("booked", flush=True)
    time.sleep(60)
"""


def test_bookings_of_a_search_that_was_killed_are_free_again(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "booked\n"
    with Reservations(store) as own:
        assert own.of_others() == [{"model": {"name": "custom"}}]
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
        assert own.of_others() == []
    assert [path.name for path in (tmp_path / FOLDER).iterdir() if path.name != "asking"] == []


def test_what_another_search_has_booked_is_not_suggested(space: MakeSpace, tmp_path: Path) -> None:
    made, planner = space(*TINY, "model.linear_features=8,16,24")
    store = RunStore(tmp_path / "runs")
    history, view = History(store, made, BEST), StudySync(BEST)
    asker = Proposer(view, history, planner, Sampler({"_target_": "optuna.samplers.RandomSampler", "seed": 0}), BEST)
    with Reservations(store) as theirs, Reservations(store) as own:
        booked = [planner.job(made.overrides({"model.linear_features": width})) for width in ("8", "24")]
        theirs.add(booked)
        history.refresh(own.of_others())
        assert {outcome for _, outcome in history.outcomes()} == {Outcome.RUNNING} and len(history.trials) == 2
        suggestion = asker.next()
        assert suggestion is not None and suggestion.params == {"model.linear_features": "16"}
        theirs.remove(booked)
        history.refresh(own.of_others())
        assert not history.trials, "nothing of them stands in the store"
    assert not list(store.runs())


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_tpe_keeps_away_from_what_others_are_training(space: MakeSpace, tmp_path: Path, direction: str) -> None:
    key = "model.linear_features"
    made, _ = space(*TINY, f"{key}=interval(1,1000)")
    history = History(RunStore(tmp_path / "runs"), made, BEST)
    objective = parse_objectives(["accuracy"], direction)

    def distance(busy: list[int]) -> float:
        """How far from 500, the best of what is known, forty seeds suggest, on the average."""
        found = []
        for seed in range(40):
            view = StudySync(objective)
            for width in range(20, 1000, 40):
                view.study.enqueue_trial({key: width})
                asked = view.study.ask()
                assert made.suggest(asked) == {key: width}
                view.repeat(asked, [abs(width - 500) * (-1 if direction == "maximize" else 1)])
            history.refresh(busy=[{key: width} for width in busy])
            view.update(history)
            Sampler({"_target_": "optuna.samplers.TPESampler", "seed": seed}).prepare(view.study, 0, 0)
            found.append(abs(made.suggest(view.study.ask())[key] - 500))
        return sum(found) / len(found)

    assert distance([480, 490, 495, 500, 505, 510, 520]) > 1.5 * distance([])


def test_a_running_trial_is_one_until_it_has_ended(space: MakeSpace, tmp_path: Path) -> None:
    made, planner = space(*TINY, "model.linear_features=8,16,24")
    store = RunStore(tmp_path / "runs")
    history, view = History(store, made, BEST), StudySync(BEST)
    params = {"model.linear_features": "16"}
    job = planner.job(made.overrides(params))
    history.refresh(booked=[job.identity.content])
    for _ in range(2):
        view.update(history)
        assert [trial.state for trial in view.study.trials] == [TrialState.RUNNING]
    job.run.directory.mkdir(parents=True)
    job.run.identity_file.write_text(job.identity.canonical)
    job.run.publish({"accuracy": 0.75, "loss": 0.5, "epoch": 1, "parameters": 1, "seconds": 1.0})
    for _ in range(2):
        history.refresh()
        view.update(history)
        ended = [trial for trial in view.study.trials if trial.state is not TrialState.FAIL]
        assert [(trial.state, trial.values, trial.params) for trial in ended] == [(TrialState.COMPLETE, [0.75], params)]


def test_what_became_of_a_run_elsewhere_is_seen_and_told(space: MakeSpace, tmp_path: Path) -> None:
    """A run fails, is trained again by another process, and finishes."""
    made, planner = space(*TINY, "model.linear_features=8,16")
    store = RunStore(tmp_path / "runs")
    history, view = History(store, made, BEST), StudySync(BEST)
    job = planner.job(made.overrides({"model.linear_features": "8"}))
    job.run.directory.mkdir(parents=True)
    write_json(job.run.identity_file, json.loads(job.identity.canonical))
    record_failure(job.run, Failure.ERROR, "no luck", attempts=1)

    def seen() -> tuple[list[Outcome], list[TrialState]]:
        history.refresh()
        view.update(history)
        return [outcome for _, outcome in history.outcomes()], [trial.state for trial in view.study.trials]

    assert seen() == ([Outcome.FAILED], [TrialState.FAIL])
    with job.run.claim():
        record_attempt(job.run)
        assert seen() == ([Outcome.RUNNING], [TrialState.FAIL, TrialState.RUNNING])
        job.run.publish({"accuracy": 0.9, "loss": 0.1, "epoch": 1, "parameters": 1, "seconds": 1.0})
    assert seen() == ([Outcome.COMPLETE], [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE])
    assert seen()[1][2:] == [TrialState.COMPLETE], "told once"
