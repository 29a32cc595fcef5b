"""The content of trackers, read with their own libraries."""

import importlib.util
import logging
import multiprocessing
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdet.config.schema import Config, MLflow, TensorBoard
from crackdet.config.schema import Tracker as Settings
from crackdet.core.errors import UserError
from crackdet.running.execute import execute
from crackdet.running.job import Job
from crackdet.store.integrity import read_result
from crackdet.store.run import Run
from crackdet.store.snapshot import Status
from crackdet.tracking.trackers import RESULT_METRICS, TrackedRun, Trackers
from tests.jobs import job_of

needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs TensorBoard")
needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs MLflow")
History = Sequence[Mapping[str, Any]]


@pytest.fixture(scope="session")
def tracker_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Both trackers, with local files."""
    folder = tmp_path_factory.mktemp("trackers")
    return Settings(TensorBoard(str(folder / "tensorboard")), MLflow(f"sqlite:///{folder}/deep/mlflow.db"))


def make_run(store: Path, run_id: str) -> Run:
    """Return a run with its directory, as after a claim."""
    run = Run(store, run_id)
    run.directory.mkdir(parents=True, exist_ok=True)
    return run


def store_of(tracker_settings: Settings) -> Path:
    """A run store beside MLflow's database."""
    assert tracker_settings.mlflow is not None
    return Path(tracker_settings.mlflow.uri.removeprefix("sqlite:///")).parent / "runs"


def mlflow_runs(tracker_settings: Settings, run_id: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    assert tracker_settings.mlflow is not None
    client = MlflowClient(tracker_settings.mlflow.uri)
    experiment = client.get_experiment_by_name(tracker_settings.mlflow.experiment)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`crackdet.run` = '{run_id}'"))


def mlflow_metric(tracker_settings: Settings, record: Any, name: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    assert tracker_settings.mlflow is not None
    points = MlflowClient(tracker_settings.mlflow.uri).get_metric_history(record.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def read_events(tracker_settings: Settings, run_id: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tracker_settings.tensorboard is not None
    accumulator = EventAccumulator(str(Path(tracker_settings.tensorboard.folder) / run_id))
    accumulator.Reload()
    return accumulator


def curve(accumulator: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def event_files(tracker_settings: Settings) -> list[tuple[str, int]]:
    assert tracker_settings.tensorboard is not None
    return sorted((str(path), path.stat().st_size) for path in Path(tracker_settings.tensorboard.folder).rglob("*"))


@pytest.fixture
def job(tiny: Callable[..., Config], tracker_settings: Settings) -> Job:
    config = tiny("seed=7")
    config.tracker = tracker_settings
    return job_of(config, "seed=7")


@needs_tensorboard
@needs_mlflow
def test_both_trackers_agree_with_the_run_directory_and_a_skipped_run_writes_nothing(
    job: Job, tracker_settings: Settings
) -> None:
    execute(job)
    run = job.run
    result = read_result(run)
    assert result is not None
    losses = [(int(row["epoch"]), float(row["valid_loss"])) for row in run.snapshot().history]

    (record,) = mlflow_runs(tracker_settings, run.id)
    assert (record.info.run_name, record.info.status) == (run.id, "FINISHED")
    assert record.data.tags["crackdet.weights"] == str(run.weights_file)
    assert record.data.params["model.linear_features"] == "16"
    assert all(override in record.data.tags["mlflow.note.content"] for override in job.overrides)
    assert record.data.tags.get("mlflow.source.git.commit") == (run.snapshot().provenance["git"] or {}).get("commit")
    assert mlflow_metric(tracker_settings, record, "valid_loss") == losses
    assert {name: record.data.metrics[name] for name in RESULT_METRICS if name in result} == {
        name: pytest.approx(result[name]) for name in RESULT_METRICS if name in result
    }

    accumulator = read_events(tracker_settings, run.id)
    expected: list[Any] = [(epoch, pytest.approx(loss)) for epoch, loss in losses]
    assert curve(accumulator, "loss/valid") == expected
    assert accumulator.Scalars("result/accuracy")[0].value == pytest.approx(result["accuracy"])
    assert str(run.weights_file) in str(accumulator.Tensors("run/text_summary")[-1].tensor_proto)

    before = event_files(tracker_settings)
    execute(job)
    assert event_files(tracker_settings) == before
    assert len(mlflow_runs(tracker_settings, run.id)) == 1


@needs_tensorboard
@needs_mlflow
@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_a_killed_and_resumed_run_has_each_epoch_once(
    tracker_settings: Settings, attempts: list[tuple[int, int]]
) -> None:
    run_id = f"custom-{uuid.uuid4().hex[:12]}"  # a new run for each example, in one database
    tracked = TrackedRun(
        make_run(store_of(tracker_settings), run_id), {"seed": 0, "model.conv_out": [4, 8]}, [], "multirun/today"
    )
    history: list[dict[str, Any]] = []
    assert tracker_settings.tensorboard is not None
    for attempt, (lost, gained) in enumerate(attempts):
        history = history[: max(0, len(history) - lost)]  # the process is killed, and the last checkpoint is older
        trackers = Trackers(tracker_settings, tracked)
        for _ in range(gained):
            epoch = len(history) + 1
            history.append({"epoch": epoch, "valid_loss": 1 / epoch, "seconds": 1.0})
            trackers.update(history)
        if attempt + 1 == len(attempts):
            trackers.end(Status.FINISHED, {"accuracy": 0.5})
        for file in (Path(tracker_settings.tensorboard.folder) / run_id).iterdir():
            if not file.name.endswith(".old"):  # TensorBoard reads them in name order, which has one-second resolution
                file.rename(file.with_name(f"events.out.tfevents.{attempt:010d}.old"))
    (record,) = mlflow_runs(tracker_settings, run_id)
    expected: list[Any] = [(row["epoch"], pytest.approx(row["valid_loss"])) for row in history]
    reported = mlflow_metric(tracker_settings, record, "valid_loss")
    assert reported[: len(history)] == expected  # lost epochs that were never retrained stay
    assert len(reported) == len(dict(reported))
    assert curve(read_events(tracker_settings, run_id), "loss/valid") == expected


@needs_mlflow
def test_retrained_epochs_with_other_values_replace_the_mlflow_run(tracker_settings: Settings) -> None:
    tracked = TrackedRun(make_run(store_of(tracker_settings), "custom-00000000feed"), {}, [])
    mlflow_only = Settings(mlflow=tracker_settings.mlflow)
    for losses in ([0.5, 0.4, 0.3], [0.5, 0.41]):
        trackers = Trackers(mlflow_only, tracked)
        trackers.update([{"epoch": e, "valid_loss": loss, "seconds": 1.0} for e, loss in enumerate(losses, 1)])
    (record,) = mlflow_runs(tracker_settings, tracked.run.id)
    assert mlflow_metric(tracker_settings, record, "valid_loss") == [(1, 0.5), (2, 0.41)]


def test_failing_trackers_warn_once_and_the_run_finishes(
    tiny: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    config = tiny("seed=8")
    unusable = {"tensorboard": TensorBoard(str(tmp_path / "file")), "mlflow": MLflow("http://127.0.0.1:9")}
    installed = {name: own for name, own in unusable.items() if importlib.util.find_spec(name)}
    config.tracker = Settings(**installed)  # type: ignore[arg-type]
    job = job_of(config)
    with caplog.at_level(logging.WARNING):
        execute(job)
    assert job.run.status() is Status.FINISHED
    warnings = [
        record.getMessage() for record in caplog.records if "the run continues without it" in record.getMessage()
    ]
    assert sorted(line.partition(":")[0] for line in warnings) == sorted(f"tracker={name}" for name in installed)


@needs_mlflow
def test_a_tracker_that_recovers_receives_the_missed_epochs_at_the_end(
    tracker_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    tracked = TrackedRun(make_run(store_of(tracker_settings), "custom-00000000beef"), {}, [])
    trackers = Trackers(Settings(mlflow=tracker_settings.mlflow), tracked)
    history = [{"epoch": epoch, "valid_loss": 1 / epoch, "seconds": 1.0} for epoch in (1, 2, 3)]
    trackers.update(history[:1])
    with monkeypatch.context() as broken:
        broken.delattr(MlflowClient, "log_batch")
        trackers.update(history[:2])
    trackers.update(history)
    (record,) = mlflow_runs(tracker_settings, tracked.run.id)
    assert mlflow_metric(tracker_settings, record, "valid_loss") == [(1, 1.0)]
    trackers.end(Status.FINISHED)
    assert mlflow_metric(tracker_settings, record, "valid_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_reported_before_training(job: Job, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    job.config.tracker = Settings(**{name: getattr(job.config.tracker, name)})
    with pytest.raises(UserError, match=rf"uv pip install -e '\.\[{name}\]'"):
        execute(job)
    assert not job.run.directory.exists()


@needs_mlflow
def test_two_processes_can_create_one_database(tmp_path: Path) -> None:
    tracker_settings = Settings(mlflow=MLflow(f"sqlite:///{tmp_path}/mlflow.db"))
    context = multiprocessing.get_context("spawn")
    ids = ["custom-00000000aaaa", "custom-00000000bbbb"]
    processes = [context.Process(target=start_and_end, args=(tracker_settings, run_id)) for run_id in ids]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [mlflow_runs(tracker_settings, run_id)[0].info.status for run_id in ids] == ["FINISHED"] * 2


def start_and_end(tracker_settings: Settings, run_id: str) -> None:
    Trackers(tracker_settings, TrackedRun(make_run(store_of(tracker_settings), run_id), {}, [])).end(Status.FINISHED)


def test_trackers_are_not_imported_unless_configured() -> None:
    code = "import sys, crackdet.running.training_run; sys.exit(bool({'mlflow', 'tensorboard'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_mlflow
def test_the_same_run_in_another_store_is_another_mlflow_run(tracker_settings: Settings, tmp_path: Path) -> None:
    mlflow_only, run_id = Settings(mlflow=tracker_settings.mlflow), "custom-00000000cafe"
    history = [{"epoch": epoch, "valid_loss": 1 / epoch, "seconds": 1.0} for epoch in (1, 2)]
    ours, theirs = (
        Trackers(mlflow_only, TrackedRun(make_run(tmp_path / name, run_id), {}, [])) for name in ("ours", "theirs")
    )
    ours.update(history[:1])
    theirs.update([{**history[0], "valid_loss": 1.0000001}])  # on another machine
    ours.update(history)
    ours.end(Status.FINISHED)
    theirs.end(Status.INTERRUPTED)
    reported = {
        record.info.status: mlflow_metric(mlflow_only, record, "valid_loss")
        for record in mlflow_runs(mlflow_only, run_id)
    }
    assert reported == {"FINISHED": [(1, 1.0), (2, 0.5)], "KILLED": [(1, 1.0000001)]}


@needs_mlflow
def test_a_tracker_that_failed_to_open_receives_all_epochs_at_the_end(
    tracker_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    mlflow_only, run = Settings(mlflow=tracker_settings.mlflow), make_run(tmp_path, "custom-00000000f00d")
    with monkeypatch.context() as broken:
        broken.delattr(MlflowClient, "create_run")
        trackers = Trackers(mlflow_only, TrackedRun(run, {}, []))
    trackers.update([{"epoch": 1, "valid_loss": 0.5, "seconds": 1.0}])
    trackers.end(Status.FINISHED, {"accuracy": 0.9})
    (record,) = mlflow_runs(mlflow_only, run.id)
    assert mlflow_metric(mlflow_only, record, "valid_loss") == [(1, 0.5)] and record.info.status == "FINISHED"
