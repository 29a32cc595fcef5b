"""Which weights `runtime.keep_weights` keeps."""

from pathlib import Path

import numpy as np
import pytest

from crackdet.analysis import retention
from crackdet.analysis.ranking import Summary, summarize
from crackdet.analysis.retention import clean_after_run, clean_after_sweep, spare_weights
from crackdet.store.garbage import remove
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from tests.analysis.runs import publish, simulate_logits

RESULT = {"loss": 0.1, "epoch": 1, "parameters": 1, "seconds": 1.0, "valid_images": 8, "right": "/w=="}


def add_run(store: RunStore, number: int, finished: bool = True, images: str = "same") -> Run:
    """A run with weights; the lower its number, the higher its accuracy."""
    run = store.run(f"custom-{number:012x}")
    run.directory.mkdir(parents=True)
    run.weights_file.write_bytes(b"w" * 100)
    if finished:
        run.publish({**RESULT, "accuracy": 0.9 - number / 100, "valid_digest": images})
    return run


def with_weights(store: RunStore) -> str:
    return "".join(run.id[-1] for run in store.runs() if run.weights_file.exists())


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Five finished runs and an unfinished one."""
    store = RunStore(tmp_path / "runs")
    for number in range(6):
        add_run(store, number, finished=number < 5)
    return store


@pytest.mark.parametrize(("keep", "spared"), [("all", ""), ("best:2", "234"), ("none", "01234")])
def test_weights_beyond_the_best_can_go_and_results_stay(store: RunStore, keep: str, spared: str) -> None:
    removed = remove(spare_weights(store, keep))
    assert {item.run.id[-1] for item in removed} == set(spared)
    for run in store.runs():
        assert run.weights_file.exists() != (run.id[-1] in spared)
        assert (run.status() is Status.FINISHED) == (run.id[-1] != "5")


def test_the_best_are_kept_for_each_set_of_validation_images(store: RunStore) -> None:
    add_run(store, 6, images="others")
    assert [item.run.id[-1] for item in spare_weights(store, "best:1")] == ["1", "2", "3", "4"]


def test_only_weights_of_the_given_runs_are_spare_but_all_are_ranked(store: RunStore) -> None:
    among = {f"custom-{number:012x}" for number in (0, 3)}
    assert [item.run.id[-1] for item in spare_weights(store, "best:1", among)] == ["3"]


def test_runs_without_weights_do_not_count_among_the_best(store: RunStore) -> None:
    store.run("custom-000000000000").weights_file.unlink()
    assert [item.run.id[-1] for item in spare_weights(store, "best:2")] == ["3", "4"]


def test_the_weights_of_the_recommended_run_stay(tmp_path: Path) -> None:
    labels = np.arange(300) % 2 == 0
    for width, (merit, flops) in enumerate([(3.3, 900), (3.2, 500), (3.1, 100), (0.5, 10)]):
        publish(tmp_path, labels, simulate_logits(labels, merit, width + 1), flops, width=width)
    decision = summarize(tmp_path).decision
    assert decision is not None and decision.recommended.id != decision.best.id
    assert not any("removed" in note for note in decision.notes)
    remove(spare_weights(RunStore(tmp_path), "best:1"))
    kept = {run.id for run in RunStore(tmp_path).runs() if run.weights_file.exists()}
    assert kept == {decision.best.id, decision.recommended.id}
    remove(spare_weights(RunStore(tmp_path), "none"))
    assert any(f"weights of {decision.recommended.id} have been removed" in note for note in decision.notes)


def test_during_a_sweep_the_store_is_ranked_only_when_weights_pile_up_and_the_end_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked = []

    def recording(root: Path) -> Summary:
        ranked.append(root)
        return summarize(root)

    monkeypatch.setattr(retention, "summarize", recording)
    store, record = RunStore(tmp_path / "runs"), SweepRecord(tmp_path / "sweep")
    most = 0
    for number in range(9):
        run = add_run(store, number)
        record.add(run, [])
        clean_after_run(run, "best:2", record.directory)
        most = max(most, len(with_weights(store)))
    assert most == 4 and len(ranked) == 2, "after runs 4 and 7"
    assert with_weights(store) == "018"
    clean_after_sweep(record.directory, "best:2")
    assert with_weights(store) == "01"


def test_after_a_single_run_its_weights_are_kept_or_not_at_once(store: RunStore) -> None:
    clean_after_run(add_run(store, 7), "best:2", sweep=None)
    assert with_weights(store) == "012345"


def test_a_sweep_that_keeps_all_weights_loses_none(store: RunStore, tmp_path: Path) -> None:
    record = SweepRecord(tmp_path / "sweep")
    for run in store.runs():
        record.add(run, [])
    clean_after_sweep(record.directory, "all")
    assert with_weights(store) == "012345"
