"""The record of a sweep, also if a process died while it wrote to it."""

from pathlib import Path

import pytest

from crackdet.core.errors import UserError
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_record import SweepRecord


@pytest.mark.parametrize("rest", [b'{"id": "custom-', b"\xff", b"[]\n", b"\n"])
def test_a_half_written_line_loses_only_itself(tmp_path: Path, rest: bytes) -> None:
    record, store = SweepRecord(tmp_path / "sweep"), RunStore(tmp_path / "runs")
    record.add(store.run("custom-000000000000"), ["seed=0"])
    with record.file.open("ab") as file:
        file.write(rest)
    record.add(store.run("custom-000000000001"), ["seed=1"])
    assert record.runs() == {"custom-000000000000": ["seed=0"], "custom-000000000001": ["seed=1"]}
    assert record.store() == store.root


def test_the_store_is_found_through_links(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "deep").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "multirun").symlink_to(tmp_path / "scratch" / "deep")
    store = RunStore(tmp_path / "project" / "runs")
    store.root.mkdir()
    for sweep in (tmp_path / "project" / "multirun" / "one", tmp_path / "scratch" / "deep" / "two"):
        SweepRecord(sweep).add(store.run("custom-000000000000"), [])
    for name in ("one", "two"):
        for folder in (tmp_path / "project" / "multirun", tmp_path / "scratch" / "deep"):
            found = SweepRecord(folder / name).store()
            assert found is not None and found.samefile(store.root)


def test_a_folder_belongs_to_one_store(tmp_path: Path) -> None:
    first, second = RunStore(tmp_path / "first"), RunStore(tmp_path / "second")
    first.root.mkdir()
    record = SweepRecord(tmp_path / "sweep")
    record.add(first.run("custom-000000000000"), [])
    record.add(first.run("custom-000000000001"), [])
    with pytest.raises(UserError, match=r"hydra\.sweep\.dir=.*sweep: belongs to a sweep whose runs are in .*first"):
        record.make(second.root)
    record.make(first.root)
    first.root.rename(second.root)  # the same runs elsewhere
    record.make(second.root)
    record.add(second.run("custom-000000000002"), [])
    assert record.store() == second.root and len(record.runs()) == 3


def test_a_record_that_cannot_be_written_is_reported_in_one_message(tmp_path: Path) -> None:
    record = SweepRecord(tmp_path)
    record.file.mkdir()
    with pytest.raises(UserError, match=r"runs\.jsonl: cannot be written"):
        record.add(RunStore(tmp_path).run("custom-000000000000"), [])


def test_a_line_without_a_store_is_skipped(tmp_path: Path) -> None:
    record = SweepRecord(tmp_path)
    record.file.write_text('{"id": "custom-000000000000", "store": null, "overrides": []}\n')
    assert record.store() is None and not record.runs()
