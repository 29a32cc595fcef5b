"""A board that was there all along knows what a new one reads, and leaves no trace."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from crackdet.analysis.ranking import summarize
from crackdet.core.errors import UserError
from crackdet.core.files import write_csv, write_text
from crackdet.store.failures import Failure, record_attempt, record_failure
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.store.watcher import RunStamp
from crackdet.watch.monitor import StoreMonitor, WatchedRun
from crackdet.watch.screen import Screen

IDS = [f"custom-{number:012x}" for number in range(3)]
DEEDS = ("claim", "release", "epoch", "save", "fail", "prune", "publish", "clear", "remove")


class Actor:
    """Does to the runs of a store what trainings do."""

    def __init__(self, store: Path) -> None:
        self.store = RunStore(store)
        self.held: dict[str, contextlib.ExitStack] = {}

    def do(self, deed: str, run_id: str, number: int) -> None:
        run = self.store.run(run_id)
        if deed == "claim" and run_id not in self.held:
            self.held[run_id] = contextlib.ExitStack()
            self.held[run_id].enter_context(run.claim())
            write_text(run.config_file, "trainer:\n  max_epochs: 9\n  monitor: valid_accuracy\n")
            record_attempt(run)
        elif deed == "remove" and run_id not in self.held and run.directory.is_dir():
            self.store.remove(run)
        elif run_id not in self.held:
            return
        elif deed == "release":
            self.held.pop(run_id).close()
        elif deed == "epoch":
            row = {"epoch": 0, "valid_loss": 1.0, "valid_accuracy": number / 100, "seconds": 1.5}
            write_csv(run.history_file, [*run.snapshot().history, row])
        elif deed == "save":
            write_text(run.state_file, str(number))
        elif deed == "fail":
            record_failure(run, Failure.ERROR, f"no luck {number}")
        elif deed == "prune":
            record_failure(run, Failure.PRUNED, f"after epoch {number}")
        elif deed == "publish":
            result = {"accuracy": number / 100, "loss": 0.5, "epoch": 1, "parameters": 1, "seconds": 1.0}
            run.publish({**result, "valid_images": 9, "valid_digest": "0", "settings": {"seed": number}})
        elif deed == "clear":
            run.reset()


def everything(folder: Path) -> StoreMonitor:
    board = StoreMonitor(folder)
    while board.update() or board.num_unread:
        pass
    return board


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.sampled_from(IDS), st.integers(0, 99)), max_size=25), st.data())
def test_a_board_that_saw_everything_happen_knows_what_a_new_one_reads(
    deeds: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        store = Path(folder)
        actor, board = Actor(store), StoreMonitor(store)
        for deed in deeds:
            actor.do(*deed)
            if data.draw(st.booleans()):
                board.update()
        board.update()
        board.update()  # finished runs are asked in turn
        fresh = everything(store)
        assert board.runs == fresh.runs
        assert {seen.id: seen.status for seen in fresh.runs.values()} == {
            run.id: run.status() for run in actor.store.runs()
        }
        best = summarize(store).best
        assert (board.best and board.best.id) == (best and best.id)
        for held in actor.held.values():
            held.close()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Actor]:
    """One run at work, one finished, one failed."""
    actor = Actor(tmp_path)
    for run_id, deeds in zip(IDS, (("epoch", "epoch"), ("publish", "release"), ("fail", "release")), strict=True):
        for number, deed in enumerate(("claim", *deeds)):
            actor.do(deed, run_id, 70 + number)
    yield actor
    for held in actor.held.values():
        held.close()


def trace(folder: Path) -> list[tuple[str, int, int]]:
    paths = [folder, *folder.rglob("*")]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def test_looking_writes_nothing(busy: Actor) -> None:
    before = trace(busy.store.root)
    board = StoreMonitor(busy.store.root)
    for _ in range(3):
        board.update()
    assert trace(busy.store.root) == before
    assert board.count() == {Status.RUNNING: 1, Status.FINISHED: 1, Status.FAILED: 1}


def test_the_course_of_a_run_tells_epochs_and_the_time_left(busy: Actor) -> None:
    course = everything(busy.store.root).runs[IDS[0]].progress
    assert (course.epochs, course.max_epochs, course.accuracy, course.best) == (2, 9, 0.72, 0.72)
    assert course.seconds_left(since=0.5) == 7 * 1.5 - 0.5
    assert course.seconds_left(since=1000) == 0


def test_a_checkpoint_does_not_put_the_end_off(busy: Actor) -> None:
    run = busy.store.run(IDS[0])
    os.utime(run.history_file, ns=(10**18, 10**18))
    (run.directory / "new").touch()
    (run.directory / "new").rename(run.state_file)
    seen = everything(busy.store.root).runs[IDS[0]]
    assert seen.last_epoch == 1e9 < seen.changed


def test_the_runs_of_a_sweep_are_listed_with_those_to_do(busy: Actor, tmp_path: Path) -> None:
    record, store = SweepRecord(tmp_path / "sweep"), busy.store
    for number, run_id in enumerate([*IDS[:2], "custom-ffffffffffff"]):
        record.add(store.run(run_id), ["data=folder", f"model.linear_features={number}"])
    board = everything(record.directory)
    assert {seen.id: seen.status for seen in board.runs.values()} == {
        IDS[0]: Status.RUNNING, IDS[1]: Status.FINISHED, "custom-ffffffffffff": Status.TODO,
    }  # fmt: skip
    text = shown(board, 80, 24)
    assert "linear_features=2" in text and "data=folder" not in text
    line = json.dumps(
        {"id": "custom-eeeeeeeeeeee", "store": os.path.relpath(store.root, record.directory), "overrides": []}
    )
    for part, number in ((line[:9], 3), (line[9:] + "\n", 4)):  # a search adds a line just as it is looked at
        with record.file.open("a") as file:
            file.write(part)
        board.update()
        assert len(board.runs) == number


def shown(board: StoreMonitor, width: int, height: int) -> str:
    out = Console(width=width, height=height, force_terminal=False)
    with out.capture() as capture:
        out.print(Screen(board).render(height))
    return capture.get()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(list(Status)), max_size=60),
    st.integers(16, 60),
    st.text(max_size=60),
    st.integers(60, 140),
)
def test_the_screen_fits_the_terminal(statuses: list[Status], height: int, reason: str, width: int) -> None:
    with TemporaryDirectory() as folder:
        board = StoreMonitor(Path(folder))
        for number, status in enumerate(statuses):
            run_id = f"custom-{number:012x}"
            merit = (-0.5, 0.0, 0.5, run_id) if status is Status.FINISHED else None
            board.runs[run_id] = WatchedRun(run_id, status, RunStamp(number), merit and 0.5, reason, merit)
        lines = shown(board, width, height).splitlines()
    assert len(lines) < height
    assert all(cell_len(line) <= width for line in lines)  # some characters take no room, some two places
    assert not any(c for line in lines for c in line if not c.isprintable())
    head = " ".join(line.strip() for line in lines[1:3])
    for status in set(statuses):
        assert f"{statuses.count(status)} {'to do' if status is Status.TODO else status}" in head


def test_what_a_file_says_does_not_command_the_terminal(busy: Actor) -> None:
    run = Run(busy.store.root, IDS[2])
    record_failure(run, Failure.ERROR, "\x1b[2J[red]gone\nfor good")
    text = shown(everything(busy.store.root), 120, 24)
    assert "\x1b" not in text and "[red]gone for good" in text


def test_there_is_nothing_to_watch_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run store or sweep folder"):
        StoreMonitor(tmp_path / "nowhere")
