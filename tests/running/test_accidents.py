"""Accidents while a run trains: kills, full disks, stores that are moved, signals."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crackdet.core.errors import RunFailed, StoreGone, WriteFailed
from crackdet.core.files import OpenFolder, write_csv
from crackdet.core.signals import Interrupted
from crackdet.running import training_run
from crackdet.running.execute import execute
from crackdet.running.job import Job
from crackdet.store import failures
from crackdet.store.failures import num_attempts, read_failure
from crackdet.store.integrity import read_result
from crackdet.store.snapshot import Status
from crackdet.sweep.execution.executor import Executor, JobOutcome, run_jobs
from crackdet.training import loop
from crackdet.training.loop import TrainContext
from crackdet.training.resume_state import TrainingState
from tests.jobs import Configure, interrupt_after, job_of


class Killed(BaseException):
    """The process dies: nothing handles it."""


def at_batch(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Do something when so many batches of an attempt have begun; nothing if there are fewer."""
    count = 0

    def interrupted_train(context: TrainContext) -> None:
        original = context.on_batch

        def on_batch(point: str) -> None:
            nonlocal count
            original(point)
            count += 1
            if count == number:
                action()

        object.__setattr__(context, "on_batch", on_batch)
        loop.train(context)

    monkeypatch.setattr(training_run, "train", interrupted_train)


def raise_killed() -> None:
    raise Killed


def kill_at(job: Job, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with monkeypatch.context() as patched:
        at_batch(patched, number, raise_killed)
        with pytest.raises(Killed):
            execute(job)


def on_history(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do something before the history is first written, that is after the first epoch."""
    done = False

    def write(path: Path, rows: list[dict[str, Any]]) -> None:
        nonlocal done
        if not done:
            done = True
            action()
        write_csv(path, rows)

    monkeypatch.setattr(training_run, "write_csv", write)


# --- attempts -----------------------------------------------------------------------------------------


def test_a_run_that_is_killed_early_at_different_points_is_not_given_up(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny())
    for number in (3, 1, 2, 4, 5):
        kill_at(job, monkeypatch, number)
        assert not job.run.state_file.exists() and job.run.status() is Status.INTERRUPTED
    assert execute(job) is not None
    assert not job.run.failure_file.exists() and not job.run.attempt_file.exists()


def test_a_run_that_is_killed_again_and_again_at_the_same_point_is_given_up(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny())
    for number in (1, 2, 2, 2):
        kill_at(job, monkeypatch, number)
    with pytest.raises(RunFailed, match="not retried after 3 attempts: its process died at epoch 1, batch 2"):
        execute(job)
    assert execute(job_of(tiny("runtime.max_attempts=4"))) is not None


def test_a_full_disk_counts_no_attempt_though_it_cannot_be_recorded(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny())
    for _ in range(4):
        with monkeypatch.context() as patched:

            def fill_disk() -> None:
                def refuse(*_: object) -> None:
                    raise WriteFailed("the disk is full")

                patched.setattr(failures, "write_json", refuse)
                raise WriteFailed("the disk is full")

            on_history(patched, fill_disk)
            with pytest.raises(RunFailed, match="the disk is full"):
                execute(job)
        assert num_attempts(read_failure(job.run)) == 0
    assert execute(job) is not None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_for_other_code_counts_no_attempt_either(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    at_batch(monkeypatch, 1, fail)
    job = job_of(tiny())
    with pytest.raises(RunFailed, match=os.strerror(code)):
        execute(job)
    assert num_attempts(read_failure(job.run)) == 0


# --- signals ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1"])
def test_a_closed_terminal_or_the_end_of_a_slurm_job_stops_a_run_which_saves_its_state(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    number = signal.Signals[name]
    job = job_of(tiny())
    with monkeypatch.context() as patched:
        at_batch(patched, 2, lambda: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as caught:
            execute(job)
    assert caught.value.exit_status == 128 + number
    assert job.run.state_file.exists() and read_failure(job.run) == {}


def test_a_process_that_is_killed_while_it_saves_because_it_was_stopped_counts_no_attempt(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny())
    with monkeypatch.context() as patched:
        interrupt_after(patched, 2)
        patched.setattr(TrainingState, "save", lambda *_: raise_killed())
        with pytest.raises(Killed):
            execute(job)
    assert read_failure(job.run) == {}


def test_a_request_to_stop_is_heeded_though_the_state_cannot_be_saved(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise WriteFailed("the disk is full")

    interrupt_after(monkeypatch, 2)
    monkeypatch.setattr(TrainingState, "save", refuse)
    with pytest.raises(Interrupted):
        execute(job_of(tiny()))
    assert "the disk is full" in caplog.text


# --- folders that are moved, removed or replaced ------------------------------------------------------


def test_a_store_that_is_moved_away_stops_its_run_and_is_resumed_once_it_is_back(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny("runtime.checkpoint_minutes=0"))
    moved = job.run.root.with_name("moved")
    with monkeypatch.context() as patched:
        on_history(patched, lambda: job.run.root.rename(moved))
        with pytest.raises(StoreGone, match=f"runtime.store={job.run.root}: the folder was moved"):
            execute(job)
    assert not job.run.root.exists()
    moved.rename(job.run.root)
    assert job.run.status() is Status.INTERRUPTED
    assert execute(job) is not None
    assert job.run.status() is Status.FINISHED


@pytest.mark.parametrize("during_publishing", [False, True])
def test_a_run_directory_that_another_process_has_replaced_is_left_alone(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch, during_publishing: bool
) -> None:
    job = job_of(tiny())
    moved = job.run.root / "moved"

    def replace_directory(*_: object) -> None:
        job.run.directory.rename(moved)
        job.run.directory.mkdir()
        (job.run.directory / "lock").touch()
        job.run.failure_file.write_text("of the other process")

    if during_publishing:
        monkeypatch.setattr("crackdet.running.publish.feature_flops", replace_directory)
    else:
        on_history(monkeypatch, replace_directory)
    with pytest.raises(RunFailed, match="the run directory was moved, removed or replaced"):
        execute(job)
    assert {path.name for path in job.run.directory.iterdir()} == {"failure.json", "lock"}
    assert job.run.failure_file.read_text() == "of the other process"
    assert not (moved / "result.json").exists()


def test_a_run_is_published_with_its_settings_though_they_were_deleted(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny())

    def delete_settings() -> None:
        job.run.identity_file.unlink()
        job.run.config_file.write_text("model: another\n")

    on_history(monkeypatch, delete_settings)
    execute(job)
    snapshot = job.run.snapshot()
    assert snapshot.status is Status.FINISHED and snapshot.config["model"]["name"] == "custom"
    result = read_result(job.run)
    assert result is not None and {"config.yaml", "identity.json"} <= {text.split()[0] for text in result["files"]}


class MovingExecutor(Executor):
    """Something happens to the folders while the first job is trained, so that the job fails."""

    max_jobs = 1

    def __init__(self, accident: Callable[[], object]) -> None:
        self.submitted: list[Job] = []
        self._accident = accident

    def submit(self, job: Job) -> None:
        self.submitted.append(job)

    def wait(self) -> list[JobOutcome]:
        self._accident()
        return [JobOutcome(self.submitted[-1], failed=True)]


@pytest.mark.parametrize("name", ["runs", "sweep"])
def test_a_sweep_whose_store_or_folder_is_gone_stops_once(tiny: Configure, tmp_path: Path, name: str) -> None:
    for folder in ("runs", "sweep"):
        (tmp_path / folder).mkdir(exist_ok=True)
    jobs = [job_of(tiny(f"seed={seed}")) for seed in range(3)]
    executor = MovingExecutor(lambda: (tmp_path / name).rename(tmp_path / "moved"))
    with OpenFolder(tmp_path / "runs") as store, OpenFolder(tmp_path / "sweep", "hydra.sweep.dir") as directory:
        executor.folders = (store, directory)
        with pytest.raises(StoreGone, match=str(tmp_path / name)):
            run_jobs(jobs, 3, executor)
    assert executor.submitted == jobs[:1] and not (tmp_path / name).exists()


def test_a_sweep_goes_on_if_only_a_run_directory_is_gone(tiny: Configure, tmp_path: Path) -> None:
    (tmp_path / "runs" / "directory").mkdir(parents=True)
    jobs = [job_of(tiny(f"seed={seed}")) for seed in range(2)]
    executor = MovingExecutor(lambda: shutil.rmtree(tmp_path / "runs" / "directory", ignore_errors=True))
    with OpenFolder(tmp_path / "runs") as store:
        executor.folders = (store,)
        assert run_jobs(jobs, 2, executor) == 1
    assert executor.submitted == jobs
