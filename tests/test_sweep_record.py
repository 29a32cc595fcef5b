"""What a sweep consists of, also where a process died as it wrote it down."""

from pathlib import Path

import pytest

from crackdet.store import RunStore
from crackdet.sweep_record import SweepRecord


@pytest.mark.parametrize("rest", [b'{"id": "custom-', b"\xff", b"[]\n", b"\n"])
def test_a_line_that_was_left_half_written_spoils_itself_only(tmp_path: Path, rest: bytes) -> None:
    record, store = SweepRecord(tmp_path / "sweep"), RunStore(tmp_path / "runs")
    record.add(store.run("custom-000000000000"), ["seed=0"])
    with record.file.open("ab") as file:
        file.write(rest)
    record.add(store.run("custom-000000000001"), ["seed=1"])
    assert record.runs() == {"custom-000000000000": ["seed=0"], "custom-000000000001": ["seed=1"]}
    assert record.store() == store.root
