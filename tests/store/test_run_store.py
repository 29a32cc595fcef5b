"""Listing, finding and removing the runs of a store."""

import os
from pathlib import Path

import pytest

from crackdet.core.errors import UserError
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore


@pytest.mark.parametrize("text", ["../../etc", "custom-0123456789ab/..", "custom", "", "CUSTOM-0123456789ab", "a-xyz"])
def test_a_text_that_is_not_a_run_id_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="is not a run id"):
        RunStore(tmp_path).run(text)


def test_runs_are_found_by_the_beginning_of_their_id_or_hash(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name in ("custom-0123456789ab", "custom-0999999999ab", "resnext50-aaaaaaaaaaaa"):
        (tmp_path / name).mkdir()
    (tmp_path / "not a run").mkdir()
    assert [run.id for run in store.runs()] == ["custom-0123456789ab", "custom-0999999999ab", "resnext50-aaaaaaaaaaaa"]
    assert store.find("res").id == store.find("aaa").id == "resnext50-aaaaaaaaaaaa"
    with pytest.raises(UserError, match="matches several runs"):
        store.find("custom-0")
    with pytest.raises(UserError, match="no such run"):
        store.find("mobilenet")
    with pytest.raises(UserError, match="no run is named"):
        store.find("")


def test_a_linked_directory_is_not_a_run(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "custom-0123456789ab").symlink_to(outside)
    assert list(RunStore(tmp_path / "runs").runs()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user other than root")
def test_unreadable_runs_are_left_out_with_a_warning(finished: Run, caplog: pytest.LogCaptureFixture) -> None:
    store = RunStore(finished.root)
    store.run("custom-999999999999").directory.mkdir(mode=0)
    assert [run.id for run in store.runs()] == [finished.id]
    assert "custom-999999999999: is not readable" in caplog.text


def test_a_run_can_be_removed_unless_it_is_running(run: Run) -> None:
    store = RunStore(run.root)
    with run.claim(), pytest.raises(UserError, match="is running"):
        store.remove(run)
    store.remove(run)
    assert not run.directory.exists()
