import json
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdet.errors import StoreError, UserError
from crackdet.identity import Identity
from crackdet.store import AlreadyRunning, Run, RunStore, Status, read_csv, replacing, write_csv, write_json

RESULT = {"id": "custom-0123456789ab", "accuracy": 0.9, "loss": 0.3, "epoch": 1, "parameters": 10, "seconds": 1.0}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = RunStore(tmp_path).run("custom-0123456789ab")
    run.directory.mkdir()
    return run


def again(run: Run) -> Run:
    """The same run as another process would see it."""
    return Run(run.directory)


def test_a_run_without_a_directory_is_to_do(tmp_path: Path) -> None:
    assert RunStore(tmp_path).run("custom-0123456789ab").status() is Status.TODO


def test_only_a_valid_result_makes_a_run_finished(run: Run) -> None:
    run.weights_file.write_bytes(b"weights")
    run.state_file.write_bytes(b"state")
    assert again(run).status() is Status.INTERRUPTED
    write_json(run.result_file, RESULT)
    assert again(run).status() is Status.FINISHED


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_result_cut_short_anywhere_is_not_finished(run: Run, data: st.DataObject) -> None:
    whole = json.dumps(RESULT).encode()
    length = data.draw(st.integers(0, len(whole) - 1))
    run.result_file.write_bytes(whole[:length])
    assert again(run).status() is Status.CORRUPT


@pytest.mark.parametrize("name", ["accuracy", "loss", "epoch", "parameters", "seconds"])
@pytest.mark.parametrize("value", [None, "0.5", [], True])
def test_a_result_with_a_value_of_another_type_is_not_finished(run: Run, name: str, value: object) -> None:
    write_json(run.result_file, {**RESULT, name: value})
    assert again(run).status() is Status.CORRUPT


def test_the_result_of_another_run_is_not_believed(run: Run) -> None:
    write_json(run.result_file, {**RESULT, "id": "custom-ba9876543210"})
    assert again(run).status() is Status.CORRUPT


def test_a_failure_makes_a_run_failed_until_it_finishes(run: Run) -> None:
    write_json(run.failure_file, {"reason": "NaN"})
    assert again(run).status() is Status.FAILED
    write_json(run.result_file, RESULT)
    assert again(run).status() is Status.FINISHED


def test_a_claimed_run_is_running_for_others_and_cannot_be_claimed_again(run: Run) -> None:
    with run.claim():
        assert again(run).status() is Status.RUNNING
        with pytest.raises(AlreadyRunning), again(run).claim():
            pass
    assert again(run).status() is Status.TODO


def hold(directory: Path, claimed: "multiprocessing.synchronize.Event") -> None:
    with Run(directory).claim():
        claimed.set()
        os.kill(os.getpid(), 9)


def test_a_claim_dies_with_its_process(run: Run) -> None:
    context = multiprocessing.get_context("spawn")
    claimed = context.Event()
    process = context.Process(target=hold, args=(run.directory, claimed))
    process.start()
    process.join()
    assert claimed.is_set() and process.exitcode == -9
    with run.claim():
        pass


def test_a_look_at_the_status_does_not_hinder_a_claim(run: Run) -> None:
    run.lock_file.touch()
    for _ in range(20):
        assert again(run).status() is Status.TODO
        with run.claim():
            pass


def test_a_file_that_fails_half_way_leaves_the_old_one_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_csv_round_trips(tmp_path: Path) -> None:
    rows = [{"image": 'a,"b"\nc.jpg', "logit": 0.1 + 0.2}, {"image": "d", "logit": -1e-300}]
    write_csv(tmp_path / "file.csv", rows)
    read = read_csv(tmp_path / "file.csv")
    assert [(row["image"], float(row["logit"])) for row in read] == [(row["image"], row["logit"]) for row in rows]


def test_another_identity_under_the_same_id_is_an_error_not_a_skip(run: Run) -> None:
    write_json(run.identity_file, {"seed": 0})
    run.check_identity(Identity({"seed": 0}))
    with pytest.raises(StoreError, match=r"identity\.json.*another configuration"):
        run.check_identity(Identity({"seed": 1}))


@pytest.mark.parametrize("text", ["../../etc", "custom-0123456789ab/..", "custom", "", "CUSTOM-0123456789ab", "a-xyz"])
def test_a_text_that_is_no_run_id_leads_nowhere(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="no run id"):
        RunStore(tmp_path).run(text)


def test_runs_are_found_by_the_beginning_of_id_or_hash(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name in ("custom-0123456789ab", "custom-0999999999ab", "resnext50-aaaaaaaaaaaa"):
        (tmp_path / name).mkdir()
    (tmp_path / "not a run").mkdir()
    assert [run.id for run in store.runs()] == ["custom-0123456789ab", "custom-0999999999ab", "resnext50-aaaaaaaaaaaa"]
    assert store.find("res").id == store.find("aaa").id == "resnext50-aaaaaaaaaaaa"
    with pytest.raises(UserError, match="could be"):
        store.find("custom-0")
    with pytest.raises(UserError, match="no such run"):
        store.find("mobilenet")


def test_a_linked_directory_is_no_run(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "custom-0123456789ab").symlink_to(outside)
    assert list(RunStore(tmp_path / "runs").runs()) == []


def test_a_removed_run_is_gone_and_a_running_one_stays(run: Run) -> None:
    store = RunStore(run.directory.parent)
    with run.claim(), pytest.raises(UserError, match="is running"):
        store.remove(again(run))
    store.remove(run)
    assert not run.directory.exists()


def test_clearing_forgets_everything_but_the_lock(run: Run, tmp_path: Path) -> None:
    write_json(run.result_file, RESULT)
    with run.claim():
        assert run.result is not None
        run.clear()
        assert run.result is None
        assert [path.name for path in run.directory.iterdir()] == ["lock"]
