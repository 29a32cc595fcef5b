"""How a run that fails is recorded, counted and retried, and what is checked before it is trained."""

import os
import pickle
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from crackdet.analysis.ranking import summarize
from crackdet.core.errors import DeviceLost, RunFailed, UserError
from crackdet.core.files import write_csv
from crackdet.running import resume, training_run
from crackdet.running.execute import execute
from crackdet.running.job import Job
from crackdet.store.failures import num_attempts, read_failure
from crackdet.store.integrity import read_result
from crackdet.store.predictions import read_predictions
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.execution.executor import LauncherExecutor
from tests.composing import compose
from tests.jobs import Configure, job_of

FOLDER_RUN = ("model.conv_out=[4]", "model.linear_features=8", "trainer.max_epochs=1", "data.image_size=32")


def error_of(job: Job) -> str:
    """Return the message with which a run fails."""
    with pytest.raises(RunFailed) as caught:
        execute(job)
    return str(caught.value)


def attempts(job: Job) -> int:
    return num_attempts(read_failure(job.run))


# --- failures and attempts ----------------------------------------------------------------------------


def test_a_failing_run_is_retried_until_its_attempts_are_used_up(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny("runtime.max_attempts=2"))

    def fail(*_: object) -> None:
        raise OSError(5, "no luck")

    with monkeypatch.context() as patched:
        patched.setattr(training_run, "train", fail)
        assert "no luck" in error_of(job)
        assert job.run.status() is Status.FAILED and attempts(job) == 1
        assert "no luck" in error_of(job)
        assert "not retried after 2 attempts" in error_of(job)
        assert attempts(job) == 2
    (row,) = summarize(job.run.root)
    assert row.status is Status.FAILED and "no luck" in row.reason
    assert "not retried" in error_of(job), "though it would succeed now"
    assert execute(job_of(tiny("runtime.max_attempts=3"))) is not None
    assert not job.run.failure_file.exists()


def test_a_lost_gpu_ends_the_sweep_of_its_process(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = job_of(tiny()), job_of(tiny("seed=1"))

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    class BasicLauncher(Launcher):
        def setup(self, **_: object) -> None: ...

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            outcome = JobReturn(status=JobStatus.FAILED)
            with pytest.raises(DeviceLost) as caught:
                execute(first)
            outcome.return_value = caught.value
            return [outcome]

    executor = LauncherExecutor(BasicLauncher())
    executor.submit(first)
    with monkeypatch.context() as patched:
        patched.setattr(training_run, "train", fail)
        patched.setattr(torch.cuda, "is_initialized", lambda: True)
        patched.setattr(torch.cuda, "synchronize", fail)
        with pytest.raises(DeviceLost, match=r"illegal memory access.*the GPU no longer responds"):
            executor.wait()
    assert first.run.status() is Status.FAILED and attempts(first) == 1
    assert execute(job_of(tiny())) is not None, "in another process"
    assert second.run.status() is Status.TODO


def test_a_loss_that_is_not_finite_is_not_retried_unless_retraining_is_requested(tiny: Configure) -> None:
    diverging = ("optimizer=sgd", "optimizer.learning_rate=1e30")
    job = job_of(tiny(*diverging))
    assert "the loss is" in error_of(job)
    assert "not retried after 1 attempt: " in error_of(job)
    assert "the loss is" in error_of(job_of(tiny(*diverging, "runtime.retrain=true")))


def test_unusable_weights_are_refused_before_the_run_is_claimed(tiny: Configure, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"nothing": torch.zeros(1)}, path)
    job = job_of(tiny(f"model.weights={path}"))
    with pytest.raises(UserError, match="do not fit"):
        execute(job)
    assert job.run.status() is Status.TODO


# --- untrusted run directories ------------------------------------------------------------------------


class Attack:
    """Creates a file if it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.proof,))


def test_an_untrusted_resume_state_executes_nothing(tiny: Configure, tmp_path: Path) -> None:
    job, proof = job_of(tiny()), tmp_path / "executed"
    job.run.directory.mkdir(parents=True)
    torch.save({"run": job.run.id, "model": Attack(proof)}, job.run.state_file)
    assert pickle.loads(pickle.dumps(Attack(proof))) is None and proof.exists(), "the attack itself works"
    proof.unlink()
    assert execute(job) is not None
    assert not proof.exists()


def test_an_untrusted_configuration_imports_nothing(tiny: Configure, tmp_path: Path) -> None:
    from crackdet.inference.loaded_run import stored_config

    job, proof = job_of(tiny()), tmp_path / "imported"
    execute(job)
    (tmp_path / "attack.py").write_text(f"open({str(proof)!r}, 'w')")
    config = job.run.config_file.read_text().replace("model:\n", "model:\n  _target_: attack.Net\n")
    job.run.config_file.write_text(config)
    result = read_result(job.run)
    assert result is not None
    job.run.publish({k: v for k, v in result.items() if k not in ("id", "files")})  # with matching digests
    with pytest.raises(UserError, match="--trust"):
        stored_config(job.run)
    assert not proof.exists()


# --- disk space and weights ---------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes; skips the test if none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("needs root: mounts a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_reported_and_the_run_resumes_once_there_is_space(
    tiny: Configure, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("model.linear_features=64", "runtime.checkpoint_minutes=0", "trainer.max_epochs=3")
    reference = job_of(tiny(*settings))
    accuracy = execute(reference)
    job = job_of(tiny(*settings, f"runtime.store={small_disk / 'runs'}"))
    monkeypatch.setattr(training_run, "check_resources", lambda *_: None)  # it would refuse the run
    filler = small_disk / "filler"

    def fill_disk(path: Path, rows: list[dict[str, object]]) -> None:
        if len(rows) == 2 and not filler.exists():
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))
        write_csv(path, rows)

    with monkeypatch.context() as patched:
        patched.setattr(training_run, "write_csv", fill_disk)
        message = error_of(job)
    assert "cannot be written (No space left on device)" in message and "MiB are needed" in message
    assert job.run.status() is not Status.FINISHED
    torch.load(job.run.state_file, weights_only=True)  # the earlier state is intact
    filler.unlink()
    assert execute(job_of(tiny(*settings, f"runtime.store={small_disk / 'runs'}"))) == accuracy
    assert job.run.snapshot().history[-1]["valid_loss"] == reference.run.snapshot().history[-1]["valid_loss"]


def test_a_store_without_space_for_the_checkpoints_is_refused_before_training(
    tiny: Configure, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny("model.linear_features=4096", f"runtime.store={small_disk / 'runs'}"))
    monkeypatch.setattr(resume, "build", lambda _: pytest.fail("training started"))
    assert "checkpoints and weights of this run need" in error_of(job)


def test_only_the_best_weights_of_a_sweep_are_kept(tiny: Configure, tmp_path: Path) -> None:
    jobs = [job_of(tiny(f"seed={seed}", "runtime.keep_weights=best:1")) for seed in range(3)]
    record = SweepRecord(tmp_path / "sweep")
    for job in jobs:
        record.add(job.run, [])
        execute(replace(job, sweep=str(record.directory)))
    ranking = [row.run for row in summarize(jobs[0].run.root).rankings[0]]
    assert len(ranking) == 3
    assert [run.weights_file.exists() for run in ranking] == [True, False, False]


def test_the_weights_of_runs_outside_the_sweep_are_kept(tiny: Configure) -> None:
    own, other = job_of(tiny("runtime.keep_weights=none")), job_of(tiny("seed=1"))
    execute(other)
    execute(own)
    assert other.run.weights_file.exists() and not own.run.weights_file.exists()


def test_the_weights_have_the_permissions_of_the_other_files(tiny: Configure) -> None:
    job = job_of(tiny())
    execute(job)
    assert job.run.weights_file.stat().st_mode == job.run.history_file.stat().st_mode


# --- image folders ------------------------------------------------------------------------------------


def test_images_that_changed_after_the_job_was_made_are_refused(base_overrides: list[str], photographs: Path) -> None:
    job = job_of(compose(["data=folder", f"data.root={photographs}", *FOLDER_RUN, *base_overrides]))
    next(photographs.rglob("*.png")).unlink()
    with pytest.raises(UserError, match="the images have changed since the command began"):
        execute(job)
    assert not job.run.directory.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs names that are bytes")
def test_image_names_may_hold_any_bytes(base_overrides: list[str], photographs: Path) -> None:
    first = next(photographs.rglob("*.png"))
    first.rename(first.with_name(os.fsdecode(b"Ri\xdf.png")))
    data = ["data=folder", f"data.root={photographs}", "data.valid_fraction=0.9"]
    job = job_of(compose([*data, *FOLDER_RUN, *base_overrides]))
    assert execute(job) is not None
    predictions = read_predictions(job.run)
    assert predictions is not None and any("Ri" in image for image in predictions.images)
    assert summarize(job.run.root).decision is not None
