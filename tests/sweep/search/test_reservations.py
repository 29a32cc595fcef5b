"""Two searches over one store: one knows the other's suggestions until they have ended or the other has died."""

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
from crackdet.sweep.search.history import History
from crackdet.sweep.search.objectives import Objective, parse_objectives
from crackdet.sweep.search.proposer import Proposer
from crackdet.sweep.search.reservations import FOLDER, Reservations
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.study_sync import StudySync
from crackdet.sweep.search.trial import Outcome
from tests.conftest import TINY
from tests.sweep.search.conftest import MakeSpace

ACCURACY = [Objective("accuracy", "maximize")]
RESERVE = """
import sys, time
from pathlib import Path
from crackdet.core.files import write_json
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.reservations import Reservations
with Reservations(RunStore(Path(sys.argv[1]))) as reservations:
    write_json(reservations._file, {"identities": [{"model": {"name": "custom"}}]})
    print("reserved", flush=True)
    time.sleep(60)
"""


def test_the_reservations_of_a_killed_search_are_void(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    other = subprocess.Popen([sys.executable, "-c", RESERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "reserved\n"
    with Reservations(store) as own:
        assert own.of_others() == [{"model": {"name": "custom"}}]
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
        assert own.of_others() == []
    assert [path.name for path in (tmp_path / FOLDER).iterdir() if path.name != "asking"] == []


def test_runs_reserved_by_another_search_are_not_suggested(space: MakeSpace, tmp_path: Path) -> None:
    made, factory = space(*TINY, "model.linear_features=8,16,24")
    store = RunStore(tmp_path / "runs")
    history, study = History(store, made, ACCURACY), StudySync(ACCURACY)
    sampler = Sampler({"_target_": "optuna.samplers.RandomSampler", "seed": 0})
    proposer = Proposer(study, history, factory, sampler)
    with Reservations(store) as theirs, Reservations(store) as own:
        reserved = [factory.job(made.overrides({"model.linear_features": width})) for width in ("8", "24")]
        theirs.add(reserved)
        history.refresh(own.of_others())
        assert {outcome for _, outcome in history.outcomes()} == {Outcome.RUNNING} and len(history.trials) == 2
        trial = proposer.propose()
        assert trial is not None and trial.params == {"model.linear_features": "16"}
        theirs.remove(reserved)
        history.refresh(own.of_others())
        assert not history.trials, "the store has no trace of them"
    assert not list(store.runs())


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_tpe_stays_away_from_running_trials(space: MakeSpace, tmp_path: Path, direction: str) -> None:
    key = "model.linear_features"
    made, _ = space(*TINY, f"{key}=interval(1,1000)")
    history = History(RunStore(tmp_path / "runs"), made, ACCURACY)
    objective = parse_objectives(["accuracy"], direction)

    def distance(running: list[int]) -> float:
        """Return the mean distance of forty seeds' suggestions from 500, the best known value."""
        distances = []
        for seed in range(40):
            study = StudySync(objective)
            for width in range(20, 1000, 40):
                study.study.enqueue_trial({key: width})
                asked = study.study.ask()
                assert made.suggest(asked) == {key: width}
                study.close_untrained(asked, [abs(width - 500) * (-1 if direction == "maximize" else 1)])
            history.refresh(active=[{key: width} for width in running])
            study.tell(history)
            Sampler({"_target_": "optuna.samplers.TPESampler", "seed": seed}).prepare(study.study, 0, 0)
            distances.append(abs(made.suggest(study.study.ask())[key] - 500))
        return sum(distances) / len(distances)

    assert distance([480, 490, 495, 500, 505, 510, 520]) > 1.5 * distance([])


def test_a_running_trial_is_in_the_study_once(space: MakeSpace, tmp_path: Path) -> None:
    made, factory = space(*TINY, "model.linear_features=8,16,24")
    store = RunStore(tmp_path / "runs")
    history, study = History(store, made, ACCURACY), StudySync(ACCURACY)
    params = {"model.linear_features": "16"}
    job = factory.job(made.overrides(params))
    history.refresh(reserved=[job.identity.content])
    for _ in range(2):
        study.tell(history)
        assert [trial.state for trial in study.study.trials] == [TrialState.RUNNING]
    job.run.directory.mkdir(parents=True)
    job.run.identity_file.write_text(job.identity.canonical)
    job.run.publish({"accuracy": 0.75, "loss": 0.5, "epoch": 1, "parameters": 1, "seconds": 1.0})
    for _ in range(2):
        history.refresh()
        study.tell(history)
        ended = [trial for trial in study.study.trials if trial.state is not TrialState.FAIL]
        assert [(trial.state, trial.values, trial.params) for trial in ended] == [(TrialState.COMPLETE, [0.75], params)]


def test_the_study_is_told_what_other_processes_do_with_a_run(space: MakeSpace, tmp_path: Path) -> None:
    """A run fails; another process retries it; it finishes."""
    made, factory = space(*TINY, "model.linear_features=8,16")
    store = RunStore(tmp_path / "runs")
    history, study = History(store, made, ACCURACY), StudySync(ACCURACY)
    job = factory.job(made.overrides({"model.linear_features": "8"}))
    job.run.directory.mkdir(parents=True)
    write_json(job.run.identity_file, json.loads(job.identity.canonical))
    record_failure(job.run, Failure.ERROR, "out of memory", attempts=1)

    def states() -> tuple[list[Outcome], list[TrialState]]:
        history.refresh()
        study.tell(history)
        return [outcome for _, outcome in history.outcomes()], [trial.state for trial in study.study.trials]

    assert states() == ([Outcome.FAILED], [TrialState.FAIL])
    with job.run.claim():
        record_attempt(job.run)
        assert states() == ([Outcome.RUNNING], [TrialState.FAIL, TrialState.RUNNING])
        job.run.publish({"accuracy": 0.9, "loss": 0.1, "epoch": 1, "parameters": 1, "seconds": 1.0})
    assert states() == ([Outcome.COMPLETE], [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE])
    assert states()[1][2:] == [TrialState.COMPLETE], "told once"
