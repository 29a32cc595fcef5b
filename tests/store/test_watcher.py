"""What a watcher reports as new, gone or changed."""

import os
from pathlib import Path

import pytest

from crackdet.core.files import write_csv, write_json
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.watcher import StoreWatcher

LONG_AGO = (0, 1e9)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path)
    for number in range(3):
        store.run(f"custom-{number:012x}").directory.mkdir()
    return store


@pytest.fixture
def settled(store: RunStore) -> Run:
    """A run that has not changed for long."""
    run = store.run("custom-000000000000")
    write_csv(run.history_file, [{"epoch": 1}])
    os.utime(run.history_file, LONG_AGO)
    os.utime(run.directory, LONG_AGO)
    return run


def ids(runs: list[Run]) -> list[str]:
    return [run.id[-1] for run in runs]


def test_each_run_is_new_once(store: RunStore) -> None:
    watcher = StoreWatcher(store)
    new, gone = watcher.update()
    assert ids(new) == ["0", "1", "2"] and not gone
    store.run("custom-000000000003").directory.mkdir()
    (store.root / "not a run").mkdir()
    (store.root / "custom-00000000000f").symlink_to(store.root / "not a run")
    assert ids(watcher.update()[0]) == ["3"]
    assert watcher.update() == ([], set())


def test_removed_runs_are_gone_and_new_again_if_they_come_back(store: RunStore) -> None:
    watcher = StoreWatcher(store)
    watcher.update()
    run = store.run("custom-000000000001")
    run.directory.rmdir()
    assert watcher.update() == ([], {run.id})
    run.directory.mkdir()
    assert ids(watcher.update()[0]) == ["1"]


def test_an_unchanged_store_is_not_listed_again(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(store.root, LONG_AGO)
    watcher = StoreWatcher(store)
    assert len(watcher.update()[0]) == 3
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("listed"))
    assert watcher.update() == ([], set())


def test_a_forgotten_run_is_new_again_though_the_store_is_unchanged(store: RunStore) -> None:
    os.utime(store.root, LONG_AGO)
    watcher = StoreWatcher(store)
    new, _ = watcher.update()
    watcher.forget(new[1])
    assert ids(watcher.update()[0]) == ["1"]


def test_a_store_that_does_not_exist_yet_has_no_runs(tmp_path: Path) -> None:
    watcher = StoreWatcher(RunStore(tmp_path / "later"))
    assert watcher.update() == ([], set())
    (tmp_path / "later" / "custom-000000000000").mkdir(parents=True)
    assert ids(watcher.update()[0]) == ["0"]


def test_a_settled_run_has_changed_only_if_its_files_have(store: RunStore, settled: Run) -> None:
    watcher = StoreWatcher(store)
    assert watcher.has_changed(settled), "it has never been read"
    assert not watcher.has_changed(settled)
    write_json(settled.failure_file, {"kind": "error"})
    assert watcher.has_changed(settled)


def test_a_history_that_grows_in_place_is_a_change(store: RunStore, settled: Run) -> None:
    watcher = StoreWatcher(store)
    watcher.has_changed(settled)
    with settled.history_file.open("a") as file:
        file.write("2\n")
    os.utime(settled.history_file, LONG_AGO)
    assert watcher.has_changed(settled)
    assert not watcher.has_changed(settled)


def test_a_run_that_changed_a_moment_ago_may_have_changed_since(store: RunStore) -> None:
    watcher, run = StoreWatcher(store), store.run("custom-000000000001")
    assert watcher.has_changed(run) and watcher.has_changed(run)
