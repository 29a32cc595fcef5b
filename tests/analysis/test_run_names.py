"""The names by which a run is chosen: `best`, `best:FOLDER`, `last`, ids and paths."""

import os
from pathlib import Path

import numpy as np
import pytest

import crackdet
from crackdet.analysis.ranking import summarize
from crackdet.analysis.run_names import resolve_run
from crackdet.core.errors import UserError
from crackdet.store.failures import Failure, record_failure
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_list import FILE
from crackdet.store.sweep_record import SweepRecord
from tests.analysis.runs import LABELS, publish, with_mistakes

OTHER_LABELS = np.arange(100) % 2 == 0


@pytest.fixture(autouse=True)
def _in_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "runs"


def finish(store: Path, mistakes: int, width: int, time: int, large: bool = True) -> Run:
    """Publish a run that finished at this time; with `large`, it was validated on three times as many images."""
    labels = LABELS if large else OTHER_LABELS
    run = publish(store, labels, with_mistakes(mistakes, labels=labels), width=width)
    os.utime(run.result_file, (time, time))
    return run


def sweep(folder: str, *runs: Run) -> SweepRecord:
    record = SweepRecord(Path(folder))
    record.make(runs[0].root)
    for run in runs:
        record.add(run, [])
    return record


def name(text: str, store: Path) -> str:
    return resolve_run(text, store).run.id


def test_best_is_that_of_the_newest_sweep_whatever_else_the_store_holds(store: Path) -> None:
    old = [finish(store, mistakes, mistakes, 10) for mistakes in (0, 5)]
    new = [finish(store, mistakes, mistakes, 5, large=False) for mistakes in (20, 10)]
    single = finish(store, 1, 99, 50)
    sweep("multirun/old", *old)
    sweep("elsewhere/new", *new)
    named = resolve_run("best", store)
    assert named.run.id == new[1].id
    assert named.note == f"best: {new[1].id}, accuracy 0.9000, the best of the newest sweep, elsewhere/new"
    assert name("best:last", store) == new[1].id
    assert name("best:multirun/old", store) == old[0].id
    assert name("best", Path("multirun/old")) == old[0].id, "--store may be a sweep's folder"
    assert name("last", store) == single.id and name("last", Path("multirun/old")) in (old[0].id, old[1].id)
    assert crackdet.load_run("best").id == new[1].id and crackdet.load_run("best:multirun/old", "none").id == old[0].id


def test_a_sweep_without_a_finished_run_is_passed_over(store: Path) -> None:
    done = finish(store, 3, 1, 10)
    failed = RunStore(store).run("custom-000000000000")
    failed.directory.mkdir()
    record_failure(failed, Failure.ERROR, "no memory", attempts=1)
    sweep("multirun/done", done)
    sweep("multirun/failed", failed)
    assert name("best", store) == done.id
    with pytest.raises(UserError, match="best:multirun/failed: no run in multirun/failed is finished"):
        resolve_run("best:multirun/failed", store)


@pytest.mark.parametrize("large_is_newer", [False, True])
def test_without_sweeps_best_is_that_of_the_newest_data_set(store: Path, large_is_newer: bool) -> None:
    large = [finish(store, mistakes, mistakes, 20 if large_is_newer else 10) for mistakes in (4, 2)]
    small = [finish(store, mistakes, mistakes, 15, large=False) for mistakes in (40, 20)]
    assert name("best", store) == (large if large_is_newer else small)[1].id
    assert "on the newest validation images" in resolve_run("best", store).note


def test_the_sweeps_of_a_store_are_found_without_its_list_and_beside_damage(store: Path) -> None:
    first, second = finish(store, 1, 1, 10), finish(store, 2, 2, 20)
    sweep("multirun/2030-01-01/10-00-00", first)
    newer = sweep("multirun/2030-01-01/11-00-00", second)
    os.utime(newer.file, (2e9, 2e9))
    assert name("best", store) == second.id
    listed = b'{"folder": "../../multirun/2030-01-01/10-00-00"}'
    (store / FILE).write_bytes(listed + b'\n[1]\n{"folder": "\\u0000"}\n\xff\n{"folder": "../')
    assert name("best", store) == first.id, "the list decides"
    (store / FILE).unlink()
    assert name("best", store) == second.id
    (store / FILE).mkdir()
    assert name("best", store) == second.id
    other = finish(store.parent / "other", 0, 1, 30)
    sweep("multirun/other", other)
    assert name("best", store) == second.id, "a sweep in another store is not one of this store"


def test_a_repeated_sweep_is_listed_once_and_moves_with_its_store(store: Path, tmp_path: Path) -> None:
    runs = finish(store, 1, 1, 10), finish(store, 2, 2, 20)
    for _ in range(3):
        sweep("sweeps/first", runs[1])
    assert len((store / FILE).read_bytes().splitlines()) == 1
    (tmp_path / "moved").mkdir()
    for folder in ("outputs", "sweeps"):
        (tmp_path / folder).rename(tmp_path / "moved" / folder)
    assert name("best", tmp_path / "moved" / "outputs" / "runs") == runs[1].id


def test_a_run_is_named_by_its_id_its_beginning_its_hash_or_its_path(store: Path) -> None:
    run = finish(store, 1, 1, 10)
    finish(store, 0, 2, 5)
    hash_start = run.id.removeprefix("custom-")[:8]
    texts = (run.id, f" {run.id}/", f"custom-{hash_start}", hash_start, str(run.directory), f"{run.directory}/",
             "outputs/runs/" + run.id, str(run.weights_file))  # fmt: skip
    assert {name(text, store) for text in texts} == {run.id}
    for text, message in {
        "custom": "matches several runs", "": "no run is named", "outputs/runs": "is not a run directory",
        "best:nowhere": "best:nowhere: no such folder", "resnext": "no such run",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=message):
            resolve_run(text, store)
    sweep("multirun/one", run)
    with pytest.raises(UserError, match="best:multirun/one is its best run"):
        resolve_run("multirun/one", store)


def test_a_missing_store_is_named_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="store=nowhere: no such folder; give a run store"):
        crackdet.load_run("best", "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file; give a run store"):
        crackdet.load_runs("file")


def test_a_summary_prints_as_a_table_and_has_html_for_a_notebook(store: Path) -> None:
    runs = [finish(store, mistakes, mistakes, 10) for mistakes in (1, 40)]
    failed = RunStore(store).run("custom-000000000000")
    failed.directory.mkdir()
    record_failure(failed, Failure.ERROR, "<b>no memory</b>", attempts=1)
    summary = summarize(store)
    text, html = str(summary), summary._repr_html_()
    assert all(run.id in text and run.id in html for run in runs) and "accuracy" in text
    assert "failed custom-000000000000" in text and "\x1b" not in text
    assert html.count("<table>") == 2 and "&lt;b&gt;no memory" in html and "<b>" not in html
    assert repr(summary) == f"<Summary of 3 runs in {store}>"
    empty = store / "empty"
    empty.mkdir()
    assert "no runs in" in str(summarize(empty)) and "no runs in" in summarize(empty)._repr_html_()
