"""A short run of the fault harness; `make faults` runs the long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("what", "number"), [("kills", 24), ("corruptions", 24), ("starts", 4)], ids=["kills", "corruptions", "starts"]
)
def test_no_run_is_lost_doubled_or_wrongly_finished(what: str, number: int) -> None:
    command = [sys.executable, "-m", "tests.faults.harness", f"--{what}", str(number)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    counts = json.loads(result.stdout[result.stdout.rindex("{") :])
    assert counts["lost"] == counts["doubled"] == counts["wrongly finished"] == 0
    assert sum(counts.get(name, 0) for name in ("kills", "corruptions", "concurrent starts")) >= number
