"""A store of an older version is refused with one message, whatever looks at it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.analysis.ranking import summarize
from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.core.files import write_json
from crackdet.running.preparation import validate
from crackdet.store.identity import SCHEMA
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_record import SweepRecord
from crackdet.store.watcher import StoreWatcher
from crackdet.watch.monitor import StoreMonitor

MESSAGE = r"written by crackdet 0\.1.*runtime\.store=FOLDER.*read this store with crackdet 0\.1"


def store_of(root: Path, schema: object) -> RunStore:
    store = RunStore(root)
    for number in range(3):
        run = store.run(f"custom-{number:012x}")
        run.directory.mkdir(parents=True)
        write_json(run.identity_file, {"schema": schema, "seed": number})
    return store


@pytest.fixture
def old(tmp_path: Path) -> RunStore:
    return store_of(tmp_path / "runs", 1)


LOOKS: dict[str, Callable[[RunStore], object]] = {
    "a listing": lambda store: list(store.runs()),
    "a search for a run": lambda store: store.find("custom-000000000000"),
    "a check before training": lambda store: store.check_writable(),
    "a sweep": lambda store: SweepRecord(store.root.parent / "sweep").make(store.root),
    "a watcher": StoreWatcher,
    "a monitor": lambda store: StoreMonitor(store.root),
    "a summary": lambda store: summarize(store.root),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_store_of_an_older_version_is_refused(old: RunStore, look: str) -> None:
    with pytest.raises(UserError, match=MESSAGE):
        LOOKS[look](old)


def test_a_sweep_folder_with_runs_in_an_older_store_is_refused(old: RunStore, tmp_path: Path) -> None:
    record = SweepRecord(tmp_path / "sweep")
    record.add(old.run("custom-000000000000"), [])
    for look in (summarize, StoreMonitor):
        with pytest.raises(UserError, match=MESSAGE):
            look(record.directory)


def test_nothing_is_trained_into_an_older_store(old: RunStore, tiny: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=MESSAGE):
        validate(tiny(f"runtime.store={old.root}"))


def test_a_command_says_it_in_one_line(old: RunStore) -> None:
    command = [sys.executable, "-m", "crackdet", "summary", str(old.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith(f"error: {old.root}: this run store was written by crackdet 0.1")
    assert result.stderr.count("\n") == 1


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="written by another version of crackdet"):
        store_of(tmp_path, SCHEMA + 1).check_version()


def test_a_store_of_this_version_is_accepted_and_so_is_one_whose_runs_have_no_identity_yet(tmp_path: Path) -> None:
    assert len(list(store_of(tmp_path / "runs", SCHEMA).runs())) == 3
    (tmp_path / "new" / "custom-000000000000").mkdir(parents=True)
    assert len(list(RunStore(tmp_path / "new").runs())) == 1
