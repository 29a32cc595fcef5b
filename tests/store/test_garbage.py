"""What can be deleted from a store without losing a result."""

from pathlib import Path

import pytest

from crackdet.analysis.retention import spare_weights
from crackdet.store.garbage import Removable, leftovers, remove
from crackdet.store.run_store import RunStore
from tests.store.conftest import RESULT

IMAGES = {"valid_images": 8, "right": "/w=="}  # fields of a result


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Five finished runs and an interrupted one, each with weights, a resume state and a temporary file."""
    store = RunStore(tmp_path / "runs")
    for number in range(6):
        run = store.run(f"custom-{number:012x}")
        run.directory.mkdir(parents=True)
        for path in (run.config_file, run.identity_file, run.history_file, run.predictions_file):
            path.write_text("{}")
        run.weights_file.write_bytes(b"w" * 100)
        run.state_file.write_bytes(b"s" * 1000)
        (run.directory / ".resume.pt.1.tmp").write_bytes(b"t" * 10)
        if number < 5:
            run.publish({**RESULT, "accuracy": 0.9 - number / 100, "valid_digest": "same", **IMAGES})
    return store


def ids(items: list[Removable]) -> set[str]:
    return {item.run.id[-1] for item in items}


def test_leftovers_are_states_of_finished_runs_and_temporary_files(store: RunStore) -> None:
    items = list(leftovers(store))
    assert ids([item for item in items if item.path.name == "resume.pt"]) == set("01234")
    assert ids([item for item in items if item.path.suffix == ".tmp"]) == set("012345")
    assert sum(item.size for item in items) == 5 * 1000 + 6 * 10
    assert store.run("custom-000000000000").state_file.exists(), "listing deletes nothing"


def test_no_file_of_a_run_that_another_process_holds_is_deleted(store: RunStore) -> None:
    held = store.run("custom-000000000004")
    items = [*leftovers(store), *spare_weights(store, "none")]
    with held.claim():
        assert "4" not in ids(remove(items))
        assert held.state_file.exists() and held.weights_file.exists()


def test_a_link_is_removed_but_not_followed(store: RunStore, tmp_path: Path) -> None:
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
