import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stores import fill
from crackdet.analysis.ranking import summarize
from crackdet.core.files import write_checksummed_json
from crackdet.core.reading import read_checksummed_json
from crackdet.store import index
from crackdet.store.integrity import read_result
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status

NUMBER = 12


@pytest.fixture(autouse=True)
def _index_small_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MIN_RUNS", 2)


@pytest.fixture(params=["just changed", "settled"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store, with an index only if its runs are settled."""
    fill(tmp_path, NUMBER)
    if request.param == "settled":
        settle(tmp_path)
    summarize(tmp_path)
    return tmp_path


with_index = pytest.mark.parametrize("store", ["settled"], indirect=True)


def settle(store: Path) -> None:
    """Make the runs look as if they had not changed for long."""
    for run in RunStore(store).runs():
        os.utime(run.directory, (0, 1e9))


def indexed_ids(store: Path) -> set[str]:
    return set(json.loads((store / index.FILE).read_text())["rows"])


def summarized(store: Path) -> list[dict[str, Any]]:
    """Return what a summary says of each run, without what the index leaves out."""
    found = [{**entry.result, "status": entry.status, "tree": entry.tree} for entry in summarize(store)]
    return [
        {name: value for name, value in row.items() if name not in (*index.NOT_INDEXED, "settings")} for row in found
    ]


@with_index
def test_a_summary_from_the_index_equals_that_from_the_runs(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(indexed_ids(store)) == NUMBER
    by_index, rows = summarized(store), summarize(store).rows()
    (store / index.FILE).unlink()
    assert (by_index, rows) == (summarized(store), summarize(store).rows())
    monkeypatch.setattr(index, "MIN_RUNS", NUMBER + 1)
    assert (by_index, rows) == (summarized(store), summarize(store).rows())
    assert len(by_index) == len(list(RunStore(store).runs())) == NUMBER


def test_recently_changed_runs_are_not_indexed(tmp_path: Path) -> None:
    fill(tmp_path, NUMBER)
    run = next(RunStore(tmp_path).runs())
    summarize(tmp_path)
    run.history_file.write_text("epoch\n")
    assert {entry.id for entry in summarize(tmp_path) if entry.status is Status.CORRUPT} == {run.id}


@with_index
def test_summarizing_a_sweep_keeps_the_other_runs_of_the_store_in_the_index(store: Path) -> None:
    removed, *left = RunStore(store).runs()
    RunStore(store).remove(removed)
    fill(store / "more", 2 * NUMBER)
    added = list(RunStore(store / "more").runs())[-NUMBER:]
    ids = [run.directory.rename(store / run.id).name for run in added if not (store / run.id).exists()]
    assert ids
    settle(store)
    index.read_snapshots([RunStore(store).run(run_id) for run_id in ids])
    assert indexed_ids(store) == {run.id for run in left} | set(ids)


def test_rows_differ_by_their_runs(store: Path) -> None:
    assert len(set(summarize(store))) == NUMBER


@with_index
def test_indexed_results_are_not_opened(store: Path) -> None:
    for run in RunStore(store).runs():
        stamp = run.result_file.stat()
        run.result_file.write_bytes(b" " * stamp.st_size)
        os.utime(run.result_file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert len(summarize(store).rankings[0]) == NUMBER


def test_a_changed_result_is_read_again(store: Path) -> None:
    run = next(RunStore(store).runs())
    result = read_result(run)
    assert result is not None
    content = {key: value for key, value in result.items() if key not in ("id", "files")}
    run.publish({**content, "accuracy": 0.99999})
    best = summarize(store).best
    assert best is not None and best.accuracy == 0.99999


def test_removed_and_corrupt_runs_are_noticed(store: Path) -> None:
    first, second, third, fourth, *_ = RunStore(store).runs()
    RunStore(store).remove(first)
    second.result_file.unlink()
    third.result_file.write_text("{}")
    fourth.predictions_file.unlink()
    statuses = {entry.id: entry.status for entry in summarize(store)}
    assert first.id not in statuses
    assert statuses[second.id] is Status.INTERRUPTED
    assert statuses[third.id] is statuses[fourth.id] is Status.CORRUPT


def test_a_run_that_was_corrupt_when_the_index_was_written_stays_corrupt(tmp_path: Path) -> None:
    fill(tmp_path, NUMBER)
    first, second, *_ = RunStore(tmp_path).runs()
    for run, seconds in ((first, 1e9), (second, 0)):  # some archives give all folders the time 0
        run.history_file.write_text("epoch\n")  # in its place: the folder does not change
        os.utime(run.directory, (0, seconds))
    for _ in range(2):
        statuses = {entry.id: entry.status for entry in summarize(tmp_path)}
        assert statuses[first.id] is statuses[second.id] is Status.CORRUPT


@with_index
def test_other_files_of_indexed_runs_are_checked_only_when_they_are_used(store: Path) -> None:
    run = next(RunStore(store).runs())
    run.history_file.write_text("epoch\n")
    assert {entry.status for entry in summarize(store)} == {Status.FINISHED}
    assert RunStore(store).run(run.id).status() is Status.CORRUPT


@with_index
@pytest.mark.parametrize("content", [b"", b"{}", b"0\n{}\n", b"\n\n", b"\xff"])
def test_a_damaged_index_is_rebuilt(store: Path, content: bytes) -> None:
    before = summarized(store)
    (store / index.FILE).write_bytes(content)
    assert summarized(store) == before
    assert len(indexed_ids(store)) == NUMBER


def test_a_store_in_which_no_index_can_be_written_is_summarized(store: Path) -> None:
    before = summarized(store)
    (store / index.FILE).unlink(missing_ok=True)
    (store / index.FILE).mkdir()
    assert summarized(store) == before


@with_index
@pytest.mark.parametrize(
    "change",
    [
        {"rows": []}, {"rows": {"custom-000000000000": 3}}, {"shapes": None}, {"shared": []},
        {"shapes": [[["x"], [], []]]}, {"more": 1}, {"shared": [{"a": 1}] * 99},
    ],
    ids=lambda change: str(change)[:30],
)  # fmt: skip
def test_an_index_that_no_summary_writes_is_ignored(store: Path, change: dict[str, Any]) -> None:
    before = summarized(store)
    write_checksummed_json(store / index.FILE, {**read_checksummed_json(store / index.FILE), **change})
    assert summarized(store) == before


@with_index
def test_a_named_pipe_in_the_place_of_the_index_is_replaced(store: Path) -> None:
    (store / index.FILE).unlink()
    os.mkfifo(store / index.FILE)
    assert len(summarized(store)) == NUMBER
    assert len(indexed_ids(store)) == NUMBER
