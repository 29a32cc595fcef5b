"""The same sweep in several processes: the work is divided, and each ends with a summary of all of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import TINY

ROOT = Path(__file__).parents[2]


def start(folder: Path, base_overrides: list[str], name: str, *overrides: str) -> "subprocess.Popen[str]":
    line = [sys.executable, str(ROOT / "train.py"), "-m", *TINY, *base_overrides, f"hydra.sweep.dir={folder / name}"]
    return subprocess.Popen(
        [*line, "runtime.num_threads=1", *overrides],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def summary(folder: Path, name: str) -> dict:  # type: ignore[type-arg]
    return json.loads((folder / name / "summary.json").read_text())


def test_two_sweeps_divide_the_runs_and_wait_for_each_other(tmp_path: Path, base_overrides: list[str]) -> None:
    grid = ("seed=0,1,2,3", "trainer.max_epochs=8", "runtime.wait_for_others=true")
    processes = [start(tmp_path, base_overrides, name, *grid) for name in ("one", "two")]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trained = [line.split()[1] for output in outputs for line in output.splitlines() if line.startswith("training ")]
    assert len(trained) == len(set(trained)) == 4
    for name in ("one", "two"):
        assert {row["status"] for row in summary(tmp_path, name)["runs"]} == {"finished"}
    assert summary(tmp_path, "one")["best"] == summary(tmp_path, "two")["best"]


def test_a_sweep_that_waits_takes_over_from_one_that_dies(tmp_path: Path, base_overrides: list[str]) -> None:
    settings = ("seed=0", "trainer.max_epochs=100", "trainer.patience=100", "optimizer.learning_rate=1e-6")
    doomed = start(tmp_path, base_overrides, "doomed", *settings)
    history = None
    while history is None and doomed.poll() is None:
        time.sleep(0.1)
        history = next((tmp_path / "runs").glob("*/history.csv"), None)
    os.kill(doomed.pid, signal.SIGSTOP)  # it holds its run and does not come further
    heir = start(tmp_path, base_overrides, "heir", *settings, "runtime.wait_for_others=true")
    assert heir.stdout is not None
    for line in heir.stdout:
        if "waiting for 1 runs" in line:
            break
    os.kill(doomed.pid, signal.SIGKILL)
    output, _ = heir.communicate(timeout=250)
    assert heir.returncode == 0, output
    assert "training custom-" in output
    assert summary(tmp_path, "heir")["runs"][0]["status"] == "finished"
    doomed.communicate()
