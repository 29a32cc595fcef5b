"""The screen fits the terminal and cannot be abused."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from crackdet.store.failures import Failure, record_failure
from crackdet.store.snapshot import Status
from crackdet.store.watcher import RunStamp
from crackdet.watch.monitor import StoreMonitor, WatchedRun
from crackdet.watch.screen import Screen
from tests.watch.conftest import IDS, Trainer, read_all


def rendered(monitor: StoreMonitor, width: int, height: int) -> str:
    out = Console(width=width, height=height, force_terminal=False)
    with out.capture() as capture:
        out.print(Screen(monitor).render(height))
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
        monitor = StoreMonitor(Path(folder))
        for number, status in enumerate(statuses):
            run_id = f"custom-{number:012x}"
            sort_key = (-0.5, 0.0, 0.5, run_id) if status is Status.FINISHED else None
            monitor.runs[run_id] = WatchedRun(run_id, status, RunStamp(number), sort_key and 0.5, reason, sort_key)
        lines = rendered(monitor, width, height).splitlines()
    assert len(lines) < height
    assert all(cell_len(line) <= width for line in lines)  # a character may take no column, or two
    assert not any(c for line in lines for c in line if not c.isprintable())
    head = " ".join(line.strip() for line in lines[1:3])
    for status in set(statuses):
        assert f"{statuses.count(status)} {'to do' if status is Status.TODO else status}" in head


def test_control_characters_from_files_do_not_reach_the_terminal(trainer: Trainer) -> None:
    run = trainer.store.run(IDS[2])
    record_failure(run, Failure.ERROR, "\x1b[2J[red]gone\nfor good")
    text = rendered(read_all(trainer.store.root), 120, 24)
    assert "\x1b" not in text and "[red]gone for good" in text
