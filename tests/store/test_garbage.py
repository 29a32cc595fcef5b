from pathlib import Path

import numpy as np
import pytest

from crackdet.analysis.ranking import summarize
from crackdet.analysis.retention import spare_weights
from crackdet.store.garbage import leftovers, remove
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from tests.analysis.runs import drawn, publish


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Five finished runs, the first the best, and an interrupted one."""
    store = RunStore(tmp_path / "runs")
    for number in range(6):
        run = store.run(f"custom-{number:012x}")
        run.directory.mkdir(parents=True)
        for path in (run.config_file, run.identity_file, run.history_file, run.predictions_file):
            path.write_text("{}")
        run.weights_file.write_bytes(b"w" * 100)
        run.state_file.write_bytes(b"s" * 1000)
        (run.directory / ".resume.pt.1.tmp").write_bytes(b"t" * 10)
        result = {"loss": 0.1, "epoch": 1, "parameters": 1, "seconds": 1.0, "valid_digest": "same"}
        if number < 5:
            run.publish({**result, "accuracy": 0.9 - number / 100})
    return store


def names(runs: list[Run]) -> set[str]:
    return {run.id[-1] for run in runs}


def test_states_of_finished_runs_and_leftovers_can_go(store: RunStore) -> None:
    items = list(leftovers(store))
    assert names([item.run for item in items if item.path.name == "resume.pt"]) == set("01234")
    assert names([item.run for item in items if item.path.suffix == ".tmp"]) == set("012345")
    assert sum(item.size for item in items) == 5 * 1000 + 6 * 10
    assert store.run("custom-000000000000").state_file.exists(), "nothing is deleted by looking"


@pytest.mark.parametrize(("keep", "spared"), [("all", ""), ("best:2", "234"), ("none", "01234")])
def test_weights_beyond_the_best_can_go_and_results_stay(store: RunStore, keep: str, spared: str) -> None:
    removed = remove(spare_weights(store, keep))
    assert names([item.run for item in removed]) == set(spared)
    for run in store.runs():
        assert run.weights_file.exists() != (run.id[-1] in spared)
        assert (run.status() is Status.FINISHED) == (run.id[-1] != "5")


def test_nothing_of_a_run_that_another_process_holds_is_touched(store: RunStore) -> None:
    held = store.run("custom-000000000004")
    items = [*leftovers(store), *spare_weights(store, "none")]
    with held.claim():
        assert "4" not in names([item.run for item in remove(items)])
        assert held.state_file.exists() and held.weights_file.exists()


def test_a_link_is_removed_not_followed(store: RunStore, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("keep me")
    run = store.run("custom-000000000000")
    run.state_file.unlink()
    run.state_file.symlink_to(outside)
    (store.root / "custom-00000000000f").symlink_to(tmp_path)
    (tmp_path / ".x.tmp").write_text("not a run's")
    remove([*leftovers(store), *spare_weights(store, "none")])
    assert outside.read_text() == "keep me" and (tmp_path / ".x.tmp").exists()
    assert not run.state_file.is_symlink()


def test_the_weights_of_the_run_to_take_stay(tmp_path: Path) -> None:
    labels = np.arange(300) % 2 == 0
    for width, (merit, flops) in enumerate([(3.3, 900), (3.2, 500), (3.1, 100), (0.5, 10)]):
        publish(tmp_path, labels, drawn(labels, merit, width + 1), flops, width=width)
    decision = summarize(tmp_path).decision
    assert decision is not None and decision.recommended.id != decision.best.id
    assert not any("removed" in note for note in decision.notes)
    remove(spare_weights(RunStore(tmp_path), "best:1"))
    kept = {run.id for run in RunStore(tmp_path).runs() if run.weights_file.exists()}
    assert kept == {decision.best.id, decision.recommended.id}
    remove(spare_weights(RunStore(tmp_path), "none"))
    assert any(f"weights of {decision.recommended.id} have been removed" in note for note in decision.notes)
