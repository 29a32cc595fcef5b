"""A run directory or a store that is moved, removed or replaced while a process holds a run."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.core.errors import FolderGone, StoreGone, WriteFailed
from crackdet.core.files import OpenFolder, write_text
from crackdet.store.failures import Failure, forget_attempts, read_failure, record_error, record_failure
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from tests.store.conftest import RESULT

ID = "custom-0123456789ab"


@pytest.fixture
def claimed_run(tmp_path: Path) -> Run:
    return RunStore(tmp_path / "runs").run(ID)


def move_run(run: Run) -> None:
    run.directory.rename(run.root / "moved")


def remove_run(run: Run) -> None:
    shutil.rmtree(run.directory)


def replace_run(run: Run) -> None:
    move_run(run)
    shutil.copytree(run.root / "moved", run.directory)


def delete_lock(run: Run) -> None:
    run.lock_file.unlink()


def empty_run(run: Run) -> None:
    for path in run.directory.iterdir():
        path.unlink()


def move_store(run: Run) -> None:
    run.root.rename(run.root.with_name("moved"))


def remove_store(run: Run) -> None:
    shutil.rmtree(run.root)


def replace_store(run: Run) -> None:
    move_store(run)
    shutil.copytree(run.root.with_name("moved"), run.root)


def switch_link(run: Run) -> None:
    """Let the store become a link that leads elsewhere, as after a switched `current`."""
    move_store(run)
    (other := run.root.with_name("other") / ID).mkdir(parents=True)
    (other / "lock").touch()
    run.root.symlink_to(other.parent)


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be moved")
@pytest.mark.parametrize(
    ("change", "error"),
    [(change, FolderGone) for change in (move_run, remove_run, replace_run, delete_lock, empty_run)]
    + [(change, StoreGone) for change in (move_store, remove_store, replace_store, switch_link)],
)
@pytest.mark.parametrize(
    "write",
    [
        lambda run: write_text(run.history_file, "epoch\n"),
        lambda run: record_failure(run, Failure.ERROR, "no luck"),
        lambda run: run.publish(RESULT),
        lambda run: forget_attempts(run),
    ],
    ids=["history", "failure", "publish", "forget"],
)
def test_nothing_is_written_in_the_place_of_a_run_that_is_gone(
    claimed_run: Run, change: Callable[[Run], None], error: type[FolderGone], write: Callable[[Run], None]
) -> None:
    run = claimed_run
    with run.claim():
        write_text(run.config_file, "seed: 0\n")
        change(run)
        before = {path: path.is_file() and path.read_bytes() for path in run.root.parent.rglob("*")}
        with pytest.raises(error, match="moved, removed or replaced") as caught:
            write(run)
        assert str(run.root if error is StoreGone else run.directory) in str(caught.value)
        record_error(run, Failure.ERROR, "no luck")  # says nothing: the error has been raised
        assert {path: path.is_file() and path.read_bytes() for path in run.root.parent.rglob("*")} == before


def test_a_folder_that_is_replaced_while_a_file_is_written_does_not_get_the_file(claimed_run: Run) -> None:
    from crackdet.core.files import atomic_write

    run = claimed_run
    with run.claim():
        with pytest.raises(FolderGone), atomic_write(run.history_file):
            replace_run(run)
            run.history_file.with_name(f".history.csv.{os.getpid()}.tmp").write_text("from here")
        assert [path.name for path in run.directory.iterdir()] == ["lock"]


def test_a_run_that_is_moved_away_and_back_is_still_held(claimed_run: Run) -> None:
    run = claimed_run
    with run.claim():
        move_run(run)
        (run.root / "moved").rename(run.directory)
        write_text(run.history_file, "epoch\n")
    assert run.history_file.exists()


def test_a_working_folder_that_is_moved_takes_a_relative_store_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    run = RunStore(Path("runs")).run(ID)
    with run.claim():
        (tmp_path / "project").rename(tmp_path / "renamed")
        write_text(run.history_file, "epoch\n")
    assert (tmp_path / "renamed" / "runs" / ID / "history.csv").exists()
    assert not (tmp_path / "project").exists()


def test_a_write_creates_no_folder(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="there is no folder"):
        write_text(tmp_path / "missing" / "file", "text")
    assert not (tmp_path / "missing").exists()


def test_a_folder_that_is_removed_and_created_again_is_another_one(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    with OpenFolder(folder, "hydra.sweep.dir") as opened:
        opened.check()
        folder.rmdir()
        folder.mkdir()  # may get the same inode number, unless the old folder is kept open
        with pytest.raises(StoreGone, match=f"hydra.sweep.dir={folder}"):
            opened.check()


def test_removing_a_run_leaves_the_claim_of_another_process_alone(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that claims the run as soon as its lock is gone keeps its directory."""
    unlink = Path.unlink

    def unlink_and_claim(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path == finished.lock_file:
            path.touch()
            finished.config_file.write_text("seed: 1\n")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink_and_claim)
        RunStore(finished.root).remove(finished)
    assert sorted(path.name for path in finished.directory.iterdir()) == ["config.yaml", "lock"]
    assert read_failure(finished) == {}
