"""A monitor that keeps itself up to date, and leaves no trace."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdet.analysis.ranking import summarize
from crackdet.core.errors import UserError
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.watch.monitor import StoreMonitor
from tests.watch.conftest import ACTIONS, IDS, Trainer, read_all
from tests.watch.test_screen import rendered


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(IDS), st.integers(0, 99)), max_size=25), st.data())
def test_a_monitor_that_watched_all_along_agrees_with_a_new_one(
    actions: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        store = Path(folder)
        trainer, monitor = Trainer(store), StoreMonitor(store)
        for action in actions:
            trainer.do(*action)
            if data.draw(st.booleans()):
                monitor.update()
        monitor.update()
        monitor.update()  # finished runs are checked in turn
        fresh = read_all(store)
        assert monitor.runs == fresh.runs
        assert {watched.id: watched.status for watched in fresh.runs.values()} == {
            run.id: run.status() for run in trainer.store.runs()
        }
        best = summarize(store).best
        assert (monitor.best and monitor.best.id) == (best and best.id)
        for held in trainer.held.values():
            held.close()


def files(folder: Path) -> list[tuple[str, int, int]]:
    paths = [folder, *folder.rglob("*")]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def test_a_monitor_writes_nothing(trainer: Trainer) -> None:
    before = files(trainer.store.root)
    monitor = StoreMonitor(trainer.store.root)
    for _ in range(3):
        monitor.update()
    assert files(trainer.store.root) == before
    statuses = [run.status for run in monitor.runs.values()]
    assert sorted(statuses) == sorted([Status.RUNNING, Status.FINISHED, Status.FAILED])


def test_the_progress_of_a_run_has_epochs_and_the_time_left(trainer: Trainer) -> None:
    progress = read_all(trainer.store.root).runs[IDS[0]].progress
    assert (progress.epochs, progress.max_epochs, progress.accuracy, progress.best) == (2, 9, 0.72, 0.72)
    assert progress.seconds_left(since=0.5) == 7 * 1.5 - 0.5
    assert progress.seconds_left(since=1000) == 0


def test_a_checkpoint_does_not_change_the_time_left(trainer: Trainer) -> None:
    run = trainer.store.run(IDS[0])
    os.utime(run.history_file, ns=(10**18, 10**18))
    (run.directory / "new").touch()
    (run.directory / "new").rename(run.state_file)
    watched = read_all(trainer.store.root).runs[IDS[0]]
    assert watched.last_epoch == 1e9 < watched.stamp.changed


def test_the_runs_of_a_sweep_are_listed_with_those_that_have_not_started(trainer: Trainer, tmp_path: Path) -> None:
    record, store = SweepRecord(tmp_path / "sweep"), trainer.store
    for number, run_id in enumerate([*IDS[:2], "custom-ffffffffffff"]):
        record.add(store.run(run_id), ["data=folder", f"model.linear_features={number}"])
    monitor = read_all(record.directory)
    assert {watched.id: watched.status for watched in monitor.runs.values()} == {
        IDS[0]: Status.RUNNING, IDS[1]: Status.FINISHED, "custom-ffffffffffff": Status.TODO,
    }  # fmt: skip
    text = rendered(monitor, 80, 24)
    assert "linear_features=2" in text and "data=folder" not in text
    line = json.dumps(
        {"id": "custom-eeeeeeeeeeee", "store": os.path.relpath(store.root, record.directory), "overrides": []}
    )
    for part, number in ((line[:9], 3), (line[9:] + "\n", 4)):  # as if a search is just writing it
        with record.file.open("a") as file:
            file.write(part)
        monitor.update()
        assert len(monitor.runs) == number


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run store or sweep folder"):
        StoreMonitor(tmp_path / "nowhere")


def test_a_run_that_is_removed_and_trained_again_is_watched_again(trainer: Trainer) -> None:
    monitor = read_all(trainer.store.root)
    trainer.do("remove", IDS[1], 0)
    monitor.update()
    assert IDS[1] not in monitor.runs
    trainer.do("claim", IDS[1], 0)
    monitor.update()
    assert monitor.runs[IDS[1]].status is Status.RUNNING


def test_a_process_that_dies_is_noticed_though_no_file_changes(trainer: Trainer) -> None:
    run = trainer.store.run(IDS[0])
    for path in (run.history_file, run.directory):
        os.utime(path, (0, 1e9))
    monitor = read_all(trainer.store.root)
    assert monitor.update() == []
    trainer.held.pop(IDS[0]).close()
    assert [watched.status for watched in monitor.update()] == [Status.INTERRUPTED]
