"""The life of a run directory: status, attempts, claims, reset."""

import multiprocessing
import os
from pathlib import Path

import pytest

from crackdet.core.errors import StoreError
from crackdet.store.failures import (
    AttemptPoint,
    Failure,
    forget_attempts,
    num_attempts,
    read_failure,
    record_attempt,
    record_failure,
    record_progress,
)
from crackdet.store.integrity import read_result
from crackdet.store.run import AlreadyRunning, Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from tests.store.conftest import RESULT

# --- status -------------------------------------------------------------------------------------------


def test_a_run_without_a_directory_is_todo(tmp_path: Path) -> None:
    assert RunStore(tmp_path).run("custom-0123456789ab").status() is Status.TODO


def test_only_a_result_makes_a_run_finished(run: Run) -> None:
    run.weights_file.write_bytes(b"weights")
    run.state_file.write_bytes(b"state")
    assert run.status() is Status.INTERRUPTED
    run.publish(RESULT)
    assert run.status() is Status.FINISHED
    result = read_result(run)
    assert result is not None and {name: result[name] for name in RESULT} == RESULT


def test_a_failed_run_is_failed_until_it_finishes(run: Run) -> None:
    record_failure(run, Failure.ERROR, "no luck", attempts=1)
    assert run.status() is Status.FAILED
    run.publish(RESULT)
    assert run.status() is Status.FINISHED
    assert not run.failure_file.exists()


def test_a_run_whose_process_died_is_interrupted_and_its_attempts_are_counted(run: Run) -> None:
    for attempt in (1, 2, 3):
        record_attempt(run)
        assert run.status() is Status.INTERRUPTED
        assert num_attempts(read_failure(run)) == attempt
    record_progress(run)
    assert num_attempts(read_failure(run)) == 1


@pytest.mark.parametrize(
    ("points", "attempts"),
    [
        (["epoch 1, batch 1"] * 3, 3),
        (["epoch 1, batch 1", "epoch 1, batch 2", "epoch 1, batch 1"], 1),
        (["epoch 1, batch 9", "epoch 1, batch 2", "epoch 1, batch 2"], 2),
        (["epoch 1, batch 2", "epoch 1, batch 2", "epoch 1, batch 1"], 1),
        ([None, None, None], 0),
        (["epoch 1, batch 1", None, "epoch 1, batch 1"], 2),
        ([None, "epoch 1, batch 1", "epoch 1, batch 1", None], 2),
    ],
)
def test_deaths_count_while_they_happen_at_the_same_point(run: Run, points: list[str | None], attempts: int) -> None:
    for text in points:
        record_attempt(run)
        with AttemptPoint(run) as point:
            if text is not None:  # it died before its first batch
                point.set("epoch 1, batch 100")
                point.set(text)
    failure = read_failure(run)
    assert num_attempts(failure) == attempts
    assert f"its process died at {points[-1] or 'the start'}" in failure["reason"]
    assert run.status() is Status.INTERRUPTED


def test_attempts_that_are_forgotten_leave_no_record(run: Run) -> None:
    record_attempt(run)
    forget_attempts(run)
    assert read_failure(run) == {} and list(run.directory.iterdir()) == []


def test_a_snapshot_keeps_saying_what_the_run_was(finished: Run) -> None:
    snapshot = finished.snapshot()
    finished.reset()
    assert snapshot.status is Status.FINISHED and snapshot.result is not None
    assert snapshot.result["accuracy"] == RESULT["accuracy"]
    assert finished.snapshot().status is Status.TODO and finished.snapshot().result is None


@pytest.mark.parametrize("content", ["", "- a list", "a: [", "\x00"])
def test_a_damaged_configuration_is_an_empty_one(run: Run, content: str) -> None:
    run.config_file.write_text(content)
    assert run.snapshot().config == {}


# --- claims -------------------------------------------------------------------------------------------


def test_a_claimed_run_is_running_for_others_and_cannot_be_claimed_again(run: Run) -> None:
    with run.claim():
        assert run.status() is Status.RUNNING
        with pytest.raises(AlreadyRunning), run.claim():
            pass
    assert run.status() is Status.TODO


def claim_and_die(run: Run, claimed: "multiprocessing.synchronize.Event") -> None:
    with run.claim():
        claimed.set()
        os.kill(os.getpid(), 9)


def test_a_claim_is_released_when_its_process_dies(run: Run) -> None:
    context = multiprocessing.get_context("spawn")
    claimed = context.Event()
    process = context.Process(target=claim_and_die, args=(run, claimed))
    process.start()
    process.join()
    assert claimed.is_set() and process.exitcode == -9
    with run.claim():
        pass


def test_checking_the_status_does_not_prevent_a_claim(run: Run) -> None:
    run.lock_file.touch()
    for _ in range(20):
        assert run.status() is Status.TODO
        with run.claim():
            pass


def test_a_claim_gives_up_if_a_status_check_holds_the_lock_for_long(run: Run) -> None:
    fcntl = pytest.importorskip("fcntl")
    run.lock_file.touch()
    with run.lock_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as a check does, for an instant
        with pytest.raises(AlreadyRunning), run.claim():
            pass


def test_a_claim_deletes_temporary_files_of_dead_processes(run: Run) -> None:
    orphan = run.directory / ".resume.pt.1.tmp"
    orphan.touch()
    with run.claim():
        assert not orphan.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user other than root")
def test_a_run_that_may_not_be_written_cannot_be_claimed(finished: Run) -> None:
    finished.directory.chmod(0o500)
    with pytest.raises(StoreError, match="may not be written"), finished.claim():
        pass


# --- reset --------------------------------------------------------------------------------------------


def test_a_reset_deletes_everything_but_the_lock(finished: Run) -> None:
    with finished.claim():
        assert read_result(finished) is not None
        finished.reset()
        assert read_result(finished) is None
        assert [path.name for path in finished.directory.iterdir()] == ["lock"]


def test_a_reset_keeps_files_that_are_not_crackdets(finished: Run) -> None:
    (finished.directory / "notes.md").write_text("why this one")
    finished.reset()
    assert [path.name for path in finished.directory.iterdir()] == ["notes.md"]
