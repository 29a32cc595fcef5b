"""What trackers were told, read back with their own libraries."""

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

from crackdet.config.schema import Config, MLflow, TensorBoard, to_dict
from crackdet.config.schema import Tracker as Settings
from crackdet.core.errors import UserError
from crackdet.running.job import Job, execute, make_job
from crackdet.store.integrity import read_result
from crackdet.store.run import Run
from crackdet.store.snapshot import Status
from crackdet.tracking.trackers import RESULTS, TrackedRun, Trackers

needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="no TensorBoard")
needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="no MLflow")
History = Sequence[Mapping[str, Any]]


@pytest.fixture(scope="session")
def places_told(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Both trackers, on this machine."""
    folder = tmp_path_factory.mktemp("told")
    return Settings(TensorBoard(str(folder / "tensorboard")), MLflow(f"sqlite:///{folder}/deep/mlflow.db"))


def store_beside(told: Settings) -> Path:
    """A run store in the folder of MLflow's database."""
    assert told.mlflow is not None
    return Path(told.mlflow.uri.removeprefix("sqlite:///")).parent / "runs"


def mlflow_runs(told: Settings, run_id: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    assert told.mlflow is not None
    client = MlflowClient(told.mlflow.uri)
    experiment = client.get_experiment_by_name(told.mlflow.experiment)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`crackdet.run` = '{run_id}'"))


def mlflow_course(told: Settings, record: Any, name: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    assert told.mlflow is not None
    points = MlflowClient(told.mlflow.uri).get_metric_history(record.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def events(told: Settings, run_id: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert told.tensorboard is not None
    accumulator = EventAccumulator(str(Path(told.tensorboard.folder) / run_id))
    accumulator.Reload()
    return accumulator


def curve(accumulator: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def files(told: Settings) -> list[tuple[str, int]]:
    assert told.tensorboard is not None
    return sorted((str(path), path.stat().st_size) for path in Path(told.tensorboard.folder).rglob("*"))


@pytest.fixture
def job(tiny: Callable[..., Config], places_told: Settings) -> Job:
    config = tiny("seed=7")
    config.tracker = places_told
    return make_job(to_dict(config), ["seed=7"])


@needs_tensorboard
@needs_mlflow
def test_both_hold_what_the_run_directory_holds_and_a_skipped_run_makes_nothing_new(
    job: Job, places_told: Settings
) -> None:
    execute(job)
    run = job.run
    result = read_result(run)
    assert result is not None
    losses = [(int(row["epoch"]), float(row["valid_loss"])) for row in run.snapshot().history]

    (record,) = mlflow_runs(places_told, run.id)
    assert (record.info.run_name, record.info.status) == (run.id, "FINISHED")
    assert record.data.tags["crackdet.weights"] == str(run.weights_file)
    assert record.data.params["model.linear_features"] == "16"
    assert all(override in record.data.tags["mlflow.note.content"] for override in job.overrides)
    assert record.data.tags.get("mlflow.source.git.commit") == (run.snapshot().provenance["git"] or {}).get("commit")
    assert mlflow_course(places_told, record, "valid_loss") == losses
    assert {name: record.data.metrics[name] for name in RESULTS if name in result} == {
        name: pytest.approx(result[name]) for name in RESULTS if name in result
    }

    accumulator = events(places_told, run.id)
    assert curve(accumulator, "loss/valid") == [(epoch, pytest.approx(loss)) for epoch, loss in losses]
    assert accumulator.Scalars("result/accuracy")[0].value == pytest.approx(result["accuracy"])
    assert str(run.weights_file) in str(accumulator.Tensors("run/text_summary")[-1].tensor_proto)

    before = files(places_told)
    execute(job)
    assert files(places_told) == before
    assert len(mlflow_runs(places_told, run.id)) == 1


@needs_tensorboard
@needs_mlflow
@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_a_run_that_is_killed_and_goes_on_has_each_epoch_once(
    places_told: Settings, lives: list[tuple[int, int]]
) -> None:
    run_id = f"custom-{uuid.uuid4().hex[:12]}"  # another for each example, in one database
    subject = TrackedRun(
        Run(store_beside(places_told), run_id), {"seed": 0, "model.conv_out": [4, 8]}, [], "multirun/today"
    )
    history: list[dict[str, Any]] = []
    assert places_told.tensorboard is not None
    for life, (lost, gained) in enumerate(lives):
        history = history[: max(0, len(history) - lost)]  # a process dies, and the last checkpoint is older
        trackers = Trackers(places_told, subject)
        for _ in range(gained):
            epoch = len(history) + 1
            history.append({"epoch": epoch, "valid_loss": 1 / epoch, "seconds": 1.0})
            trackers.update(history)
        if life + 1 == len(lives):
            trackers.end(Status.FINISHED, {"accuracy": 0.5})
        for file in (Path(places_told.tensorboard.folder) / run_id).iterdir():
            if not file.name.endswith(
                ".life"
            ):  # they are read by name, which begins with the second they were begun in
                file.rename(file.with_name(f"events.out.tfevents.{life:010d}.life"))
    (record,) = mlflow_runs(places_told, run_id)
    expected = [(row["epoch"], pytest.approx(row["valid_loss"])) for row in history]
    told = mlflow_course(places_told, record, "valid_loss")
    assert told[: len(history)] == expected  # epochs that were lost and never trained again stay there
    assert len(told) == len(dict(told))
    assert curve(events(places_told, run_id), "loss/valid") == expected


@needs_mlflow
def test_where_lost_epochs_became_others_mlflow_has_what_the_run_has(places_told: Settings) -> None:
    subject = TrackedRun(Run(store_beside(places_told), "custom-00000000feed"), {}, [])
    only = Settings(mlflow=places_told.mlflow)
    for losses in ([0.5, 0.4, 0.3], [0.5, 0.41]):
        trackers = Trackers(only, subject)
        trackers.update([{"epoch": e, "valid_loss": loss, "seconds": 1.0} for e, loss in enumerate(losses, 1)])
    (record,) = mlflow_runs(places_told, subject.run.id)
    assert mlflow_course(places_told, record, "valid_loss") == [(1, 0.5), (2, 0.41)]


def test_trackers_that_fail_warn_once_and_fail_no_run(
    tiny: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    config = tiny("seed=8")
    told = {"tensorboard": TensorBoard(str(tmp_path / "file")), "mlflow": MLflow("http://127.0.0.1:9")}
    there = {name: own for name, own in told.items() if importlib.util.find_spec(name)}
    config.tracker = Settings(**there)  # type: ignore[arg-type]
    job = make_job(to_dict(config), [])
    with caplog.at_level(logging.WARNING):
        execute(job)
    assert job.run.status() is Status.FINISHED
    warned = [record.getMessage() for record in caplog.records if "the run goes on without it" in record.getMessage()]
    assert sorted(line.partition(":")[0] for line in warned) == sorted(f"tracker={name}" for name in there)


@needs_mlflow
def test_a_tracker_that_is_back_at_the_end_is_told_what_it_missed(
    places_told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    subject = TrackedRun(Run(store_beside(places_told), "custom-00000000beef"), {}, [])
    trackers = Trackers(Settings(mlflow=places_told.mlflow), subject)
    history = [{"epoch": epoch, "valid_loss": 1 / epoch, "seconds": 1.0} for epoch in (1, 2, 3)]
    trackers.update(history[:1])
    with monkeypatch.context() as gone:
        gone.delattr(MlflowClient, "log_batch")
        trackers.update(history[:2])
    trackers.update(history)
    (record,) = mlflow_runs(places_told, subject.run.id)
    assert mlflow_course(places_told, record, "valid_loss") == [(1, 1.0)]
    trackers.end(Status.FINISHED)
    assert mlflow_course(places_told, record, "valid_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_told_before_training(job: Job, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    job.config.tracker = Settings(**{name: getattr(job.config.tracker, name)})
    with pytest.raises(UserError, match=rf"uv pip install -e '\.\[{name}\]'"):
        execute(job)
    assert not job.run.directory.exists()


@needs_mlflow
def test_two_processes_may_begin_a_database_together(tmp_path: Path) -> None:
    told = Settings(mlflow=MLflow(f"sqlite:///{tmp_path}/mlflow.db"))
    context = multiprocessing.get_context("spawn")
    ids = ["custom-00000000aaaa", "custom-00000000bbbb"]
    processes = [context.Process(target=begin, args=(told, run_id)) for run_id in ids]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [mlflow_runs(told, run_id)[0].info.status for run_id in ids] == ["FINISHED"] * 2


def begin(told: Settings, run_id: str) -> None:
    Trackers(told, TrackedRun(Run(store_beside(told), run_id), {}, [])).end(Status.FINISHED)


def test_who_uses_no_tracker_imports_none() -> None:
    code = "import sys, crackdet.running.train_run; sys.exit(bool({'mlflow', 'tensorboard'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_mlflow
def test_the_same_run_in_another_store_is_another_run_of_mlflow(places_told: Settings, tmp_path: Path) -> None:
    only, run_id = Settings(mlflow=places_told.mlflow), "custom-00000000cafe"
    history = [{"epoch": epoch, "valid_loss": 1 / epoch, "seconds": 1.0} for epoch in (1, 2)]
    ours, theirs = (Trackers(only, TrackedRun(Run(tmp_path / name, run_id), {}, [])) for name in ("ours", "theirs"))
    ours.update(history[:1])
    theirs.update([{**history[0], "valid_loss": 1.0000001}])  # on another machine
    ours.update(history)
    ours.end(Status.FINISHED)
    theirs.end(Status.INTERRUPTED)
    told = {record.info.status: mlflow_course(only, record, "valid_loss") for record in mlflow_runs(only, run_id)}
    assert told == {"FINISHED": [(1, 1.0), (2, 0.5)], "KILLED": [(1, 1.0000001)]}


@needs_mlflow
def test_a_tracker_that_was_not_there_at_first_is_told_all_at_the_end(
    places_told: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    only, run = Settings(mlflow=places_told.mlflow), Run(tmp_path, "custom-00000000f00d")
    with monkeypatch.context() as gone:
        gone.delattr(MlflowClient, "create_run")
        trackers = Trackers(only, TrackedRun(run, {}, []))
    trackers.update([{"epoch": 1, "valid_loss": 0.5, "seconds": 1.0}])
    trackers.end(Status.FINISHED, {"accuracy": 0.9})
    (record,) = mlflow_runs(only, run.id)
    assert mlflow_course(only, record, "valid_loss") == [(1, 0.5)] and record.info.status == "FINISHED"
