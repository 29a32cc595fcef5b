"""`runtime.retrain=true`: a finished run is trained again."""

import pytest

from crackdet.core.errors import RunFailed
from crackdet.running.execute import execute
from crackdet.store.failures import Failure, record_failure
from crackdet.store.snapshot import Status
from tests.jobs import Configure, job_of


def test_a_result_stays_if_there_is_no_space_to_retrain_the_run(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny("runtime.retrain=true"))
    execute(job)
    monkeypatch.setattr("crackdet.training.resources.free_bytes", lambda _: 0)
    with pytest.raises(RunFailed, match="is not retrained"):
        execute(job)
    assert job.run.status() is Status.FINISHED


def test_retraining_leaves_files_that_are_not_crackdets(tiny: Configure) -> None:
    job = job_of(tiny("runtime.retrain=true"))
    execute(job)
    (job.run.directory / ".ipynb_checkpoints").mkdir()
    (job.run.directory / "notes.md").write_text("why this one")
    first = job.run.result_file.stat().st_mtime_ns
    execute(job)
    assert job.run.status() is Status.FINISHED and job.run.result_file.stat().st_mtime_ns > first
    assert (job.run.directory / "notes.md").exists() and (job.run.directory / ".ipynb_checkpoints").is_dir()


def test_retraining_that_was_stopped_resumes(tiny: Configure, caplog: pytest.LogCaptureFixture) -> None:
    assert execute(job_of(tiny())) is not None
    job = job_of(tiny("runtime.retrain=true"))
    assert execute(job, lambda history: "enough for now") is None
    assert job.run.status() is Status.PRUNED and len(job.run.snapshot().history) == 1
    with caplog.at_level("INFO"):
        assert execute(job) is not None
    assert f"resuming from {job.run.id}: epoch 2" in caplog.text


def test_retraining_that_was_killed_resumes_whatever_the_number_of_attempts(
    tiny: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of(tiny("runtime.retrain=true", "runtime.max_attempts=1"))
    assert execute(job, lambda history: "enough for now") is None
    record_failure(job.run, Failure.DIED, "killed", attempts=1)
    with caplog.at_level("INFO"):
        assert execute(job) is not None
    assert f"resuming from {job.run.id}: epoch 2" in caplog.text
