"""What becomes of a run that cannot go on: recorded, counted, tried again, given up."""

import os
import pickle
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from crackdet.analysis.ranking import summarize
from crackdet.analysis.tables import View
from crackdet.config.composing import compose
from crackdet.config.schema import Config, flatten
from crackdet.core.errors import DeviceLost, RunFailed, UserError
from crackdet.data.dataset import data_fingerprint
from crackdet.models import factory
from crackdet.running import train_run as training_run
from crackdet.running.job import Job, execute
from crackdet.store.failures import Failure, num_attempts, read_failure, record_failure
from crackdet.store.identity import identify
from crackdet.store.integrity import read_result
from crackdet.store.predictions import read_predictions
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep import grid
from crackdet.sweep.execution.executor import Executor, JobOutcome, LauncherExecutor

Configure = Callable[..., Config]


def job_of(config: Config) -> Job:
    identity = identify(config, data_fingerprint(config.data, config.runtime))
    return Job(config, identity, RunStore(Path(config.runtime.store)).run(identity.run_id), [])


def fails(job: Job) -> str:
    with pytest.raises(RunFailed) as caught:
        execute(Job(job.config, job.identity, job.run, []))
    return str(caught.value)


def attempts(job: Job) -> int:
    return num_attempts(read_failure(job.run))


def test_a_failing_run_is_tried_so_often_and_not_more(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(tiny("runtime.max_attempts=2"))

    def unlucky(*_: object) -> None:
        raise OSError(5, "no luck")

    with monkeypatch.context() as patched:
        patched.setattr(training_run, "train", unlucky)
        assert "no luck" in fails(job)
        assert job.run.status() is Status.FAILED and attempts(job) == 1
        assert "no luck" in fails(job)
        assert "not tried again after 2 attempts" in fails(job)
        assert attempts(job) == 2
    (entry,) = summarize(job.run.root)
    assert entry.status is Status.FAILED and "no luck" in entry.reason
    assert "not tried again" in fails(job), "though it would go well now"
    assert execute(job_of(tiny("runtime.max_attempts=3"))) is not None
    assert not job.run.failure_file.exists()


def test_a_gpu_that_is_lost_ends_the_sweep_of_its_process(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = job_of(tiny()), job_of(tiny("seed=1"))

    def illegal(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    class BasicLauncher(Launcher):
        def setup(self, **_: object) -> None: ...

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            outcome = JobReturn(status=JobStatus.FAILED)
            with pytest.raises(DeviceLost) as caught:
                execute(first)
            outcome.return_value = caught.value
            return [outcome]

    crew = LauncherExecutor(BasicLauncher())
    crew.submit(first)
    with monkeypatch.context() as patched:
        patched.setattr(training_run, "train", illegal)
        patched.setattr(torch.cuda, "is_initialized", lambda: True)
        patched.setattr(torch.cuda, "synchronize", illegal)
        with pytest.raises(DeviceLost, match=r"illegal memory access.*the GPU does not answer any more"):
            crew.wait()
    assert first.run.status() is Status.FAILED and attempts(first) == 1
    assert execute(job_of(tiny())) is not None, "by another process"
    assert second.run.status() is Status.TODO


def test_a_run_that_is_no_longer_finite_is_not_tried_again_by_itself(tiny: Configure) -> None:
    job = job_of(tiny("optimizer=sgd", "optimizer.learning_rate=1e30"))
    assert "the loss is" in fails(job)
    assert "not tried again after 1 attempts" in fails(job)
    assert "the loss is" in fails(job_of(tiny("optimizer=sgd", "optimizer.learning_rate=1e30", "runtime.retrain=true")))


def test_what_the_user_can_mend_is_refused_before_the_run_is_claimed(tiny: Configure, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"nothing": torch.zeros(1)}, path)
    job = job_of(tiny(f"model.weights={path}"))
    with pytest.raises(UserError, match="do not fit"):
        execute(job)
    assert job.run.status() is Status.TODO


class Attack:
    """What a pickle would do when it is read without care."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> object:
        return (Path.touch, (self.proof,))


def test_a_resume_state_from_a_stranger_executes_nothing(tiny: Configure, tmp_path: Path) -> None:
    job, proof = job_of(tiny()), tmp_path / "executed"
    job.run.directory.mkdir(parents=True)
    torch.save({"run": job.run.id, "model": Attack(proof)}, job.run.state_file)
    assert pickle.loads(pickle.dumps(Attack(proof))) is None and proof.exists(), "the attack works in itself"
    proof.unlink()
    assert execute(job) is not None
    assert not proof.exists()


def test_a_configuration_from_a_stranger_imports_nothing_without_trust(tiny: Configure, tmp_path: Path) -> None:
    from crackdet.inference.loaded_run import stored_config

    job, proof = job_of(tiny()), tmp_path / "imported"
    execute(job)
    (tmp_path / "attack.py").write_text(f"open({str(proof)!r}, 'w')")
    config = job.run.config_file.read_text().replace("model:\n", "model:\n  _target_: attack.Net\n")
    job.run.config_file.write_text(config)
    run = job.run
    result = read_result(run)
    assert result is not None
    run.publish({k: v for k, v in result.items() if k not in ("id", "files")})  # with fitting digests
    with pytest.raises(UserError, match="--trust"):
        stored_config(job.run)
    assert not proof.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes, where that can be had."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs root: mounts a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    tiny: Configure, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("model.linear_features=64", "runtime.checkpoint_minutes=0", "trainer.max_epochs=3")
    alone = job_of(tiny(*settings))
    accuracy = execute(alone)
    job = job_of(tiny(*settings, f"runtime.store={small_disk / 'runs'}"))
    monkeypatch.setattr(training_run, "check_resources", lambda *_: None)  # it would refuse to begin
    filler = small_disk / "filler"
    original = training_run.write_csv

    def fill(path: Path, rows: list[dict[str, object]]) -> None:
        if len(rows) == 2 and not filler.exists():
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))
        original(path, rows)

    with monkeypatch.context() as patched:
        patched.setattr(training_run, "write_csv", fill)
        message = fails(job)
    assert "cannot be written (No space left on device)" in message and "MiB are needed" in message
    assert job.run.status() is not Status.FINISHED
    torch.load(job.run.state_file, weights_only=True)  # the earlier state is whole
    filler.unlink()
    assert execute(job_of(tiny(*settings, f"runtime.store={small_disk / 'runs'}"))) == accuracy
    assert job.run.snapshot().history[-1]["valid_loss"] == alone.run.snapshot().history[-1]["valid_loss"]


def test_a_store_without_room_for_the_checkpoints_is_refused_before_training(
    tiny: Configure, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny("model.linear_features=4096", f"runtime.store={small_disk / 'runs'}"))
    monkeypatch.setattr(factory, "build", lambda _: pytest.fail("training began"))
    assert "checkpoints and weights of this run need" in fails(job)


def test_weights_beyond_the_best_are_not_kept_where_that_is_wished(tiny: Configure, tmp_path: Path) -> None:
    jobs = [job_of(tiny(f"seed={seed}", "runtime.keep_weights=best:1")) for seed in range(3)]
    record = SweepRecord(tmp_path / "sweep")
    for job in jobs:
        record.add(job.run, [])
        execute(replace(job, sweep=str(record.directory)))
    ranking = [entry.run for entry in summarize(jobs[0].run.root).rankings[0]]
    assert len(ranking) == 3
    assert [run.weights_file.exists() for run in ranking] == [True, False, False]


def test_weights_of_what_others_have_trained_stay(tiny: Configure) -> None:
    mine, other = job_of(tiny("runtime.keep_weights=none")), job_of(tiny("seed=1"))
    execute(other)
    execute(mine)
    assert other.run.weights_file.exists() and not mine.run.weights_file.exists()


def test_whoever_may_read_a_run_may_read_its_weights(tiny: Configure) -> None:
    job = job_of(tiny())
    execute(job)
    assert job.run.weights_file.stat().st_mode == job.run.history_file.stat().st_mode


def test_a_result_stays_where_there_is_no_room_to_train_it_again(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tiny("runtime.retrain=true"))
    execute(job)
    monkeypatch.setattr("crackdet.training.resources.free_bytes", lambda _: 0)
    assert "is not trained again" in fails(job)
    assert job.run.status() is Status.FINISHED


def test_what_is_not_ours_outlives_a_rerun(tiny: Configure) -> None:
    job = job_of(tiny("runtime.retrain=true"))
    execute(job)
    (job.run.directory / ".ipynb_checkpoints").mkdir()
    (job.run.directory / "notes.md").write_text("why this one")
    first = job.run.result_file.stat().st_mtime_ns
    execute(job_of(tiny("runtime.retrain=true")))
    assert job.run.status() is Status.FINISHED and job.run.result_file.stat().st_mtime_ns > first
    assert (job.run.directory / "notes.md").exists() and (job.run.directory / ".ipynb_checkpoints").is_dir()


def test_names_and_reasons_from_files_cannot_command_the_terminal(
    tiny: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(tiny())
    job.run.directory.mkdir(parents=True)
    record_failure(job.run, Failure.ERROR, "\x1b]0;title\x07\x1b[2J[bold]red[/bold] [/x]", attempts=1)
    summarize(job.run.root).show()
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\x07" not in shown
    assert "[bold]red[/bold] [/x]" in shown


def test_the_table_shows_as_many_runs_as_wished_and_says_how_many_more_there_are(
    tiny: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        execute(job_of(tiny("trainer.max_epochs=1", f"seed={seed}")))
    summary = summarize(Path(tiny().runtime.store))
    shown = {}
    capsys.readouterr()  # what training has said
    for top in (1, 3, 0):
        summary.show(View(top=top))
        shown[top] = capsys.readouterr().out
    runs = [entry.id for entry in summary]
    assert runs[0] in shown[1] and runs[1] not in shown[1] and "and 2 more" in shown[1]
    for top in (3, 0):
        assert all(run in shown[top] for run in runs) and "more:" not in shown[top]


def test_a_finished_run_is_listed_with_the_settings_of_its_configuration(tiny: Configure) -> None:
    job = job_of(tiny("trainer.max_epochs=1", "data.split_seed=3"))
    execute(job)
    (entry,) = summarize(job.run.root)
    job.run.config_file.write_bytes(job.run.config_file.read_bytes())  # touched, and as it was
    stored = {key: value for key, value in flatten(job.run.snapshot().config).items() if key in entry.settings}
    stored["data.fingerprint"] = job.identity.content["fingerprint"][:12]
    assert dict(entry.settings) == stored
    assert entry.settings["data.split_seed"] == 3 and not any(key.startswith("runtime.") for key in entry.settings)


def test_a_run_that_is_trained_again_goes_on_where_it_was_stopped(
    tiny: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    assert execute(job_of(tiny())) is not None
    again = job_of(tiny("runtime.retrain=true"))
    assert execute(again, lambda history: "enough for now") is None
    assert again.run.status() is Status.PRUNED and len(again.run.snapshot().history) == 1
    with caplog.at_level("INFO"):
        assert execute(job_of(tiny("runtime.retrain=true"))) is not None
    assert f"resuming from {again.run.id}: epoch 2" in caplog.text


class Passing(Executor):
    """Whose jobs fail at once."""

    max_jobs = None

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.jobs: list[Job] = []
        self.all: list[Job] = []
        self.meanwhile = meanwhile

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.all.append(job)

    def wait(self) -> list[JobOutcome]:
        self.meanwhile()
        ended, self.jobs = [JobOutcome(job, failed=True) for job in self.jobs], []
        return ended


def test_one_that_waits_for_others_waits_for_all_of_them(tiny: Configure) -> None:
    orphan, held = job_of(tiny()), job_of(tiny("seed=1"))
    orphan.run.directory.mkdir(parents=True)
    orphan.run.history_file.touch()  # of a process that died
    with held.run.claim():
        waiting = ThreadPoolExecutor().submit(grid.wait_for_others, [orphan, held], Passing())
        with pytest.raises(TimeoutError):
            waiting.result(timeout=2.5 * grid.POLL_INTERVAL)
    assert waiting.result(timeout=60) == 1


def test_one_that_dies_while_another_is_taken_over_is_taken_over_too(tiny: Configure) -> None:
    orphan, held = job_of(tiny()), job_of(tiny("seed=1"))
    for job in (orphan, held):
        job.run.directory.mkdir(parents=True)
        job.run.history_file.touch()
    with ExitStack() as life:
        life.enter_context(held.run.claim())
        crew = Passing(life.close)
        assert grid.wait_for_others([orphan, held], crew) == 1
    assert [job.run.id for job in crew.all] == [orphan.run.id, held.run.id]


def test_a_rerun_that_was_killed_goes_on_however_often(tiny: Configure, caplog: pytest.LogCaptureFixture) -> None:
    job = job_of(tiny("runtime.retrain=true", "runtime.max_attempts=1"))
    assert execute(job, lambda history: "enough for now") is None
    record_failure(job.run, Failure.DIED, "killed", attempts=1)
    with caplog.at_level("INFO"):
        assert execute(job_of(tiny("runtime.retrain=true", "runtime.max_attempts=1"))) is not None
    assert f"resuming from {job.run.id}: epoch 2" in caplog.text


def test_photographs_that_changed_since_the_run_was_planned_are_not_trained_on(
    base_overrides: list[str], photographs: Path
) -> None:
    tiny = ["model.conv_out=[4]", "model.linear_features=8", "trainer.max_epochs=1", "data.image_size=32"]
    job = job_of(compose(["data=folder", f"data.root={photographs}", *tiny, *base_overrides]))
    next(photographs.rglob("*.png")).unlink()
    with pytest.raises(UserError, match="the images have changed since the command began"):
        execute(job)
    assert not job.run.directory.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs names that are bytes")
def test_photographs_of_any_name_are_trained_on(base_overrides: list[str], photographs: Path) -> None:
    first = next(photographs.rglob("*.png"))
    first.rename(first.with_name(os.fsdecode(b"Ri\xdf.png")))
    tiny = ["model.conv_out=[4]", "model.linear_features=8", "trainer.max_epochs=1", "data.image_size=32"]
    job = job_of(
        compose(["data=folder", f"data.root={photographs}", "data.valid_fraction=0.9", *tiny, *base_overrides])
    )
    assert execute(job) is not None
    predictions = read_predictions(job.run)
    assert predictions is not None and any("Ri" in image for image in predictions.images)
    assert summarize(job.run.root).decision is not None
