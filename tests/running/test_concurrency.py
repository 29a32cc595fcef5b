"""The same sweep in several processes: they share the runs, and each ends with a summary of all of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import TINY

ROOT = Path(__file__).parents[2]


def start(folder: Path, base_overrides: list[str], name: str, *overrides: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ROOT / "train.py"), "-m", *TINY, *base_overrides, f"hydra.sweep.dir={folder / name}"]
    return subprocess.Popen(
        [*command, "runtime.num_threads=1", *overrides],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def summary(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name / "summary.json").read_text())


def test_two_sweeps_share_the_runs_and_wait_for_each_other(tmp_path: Path, base_overrides: list[str]) -> None:
    grid = ("seed=0,1,2,3", "trainer.max_epochs=8", "runtime.wait_for_others=true")
    processes = [start(tmp_path, base_overrides, name, *grid) for name in ("one", "two")]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trained = [line.split()[1] for output in outputs for line in output.splitlines() if line.startswith("training ")]
    assert len(trained) == len(set(trained)) == 4
    for name in ("one", "two"):
        assert {row["status"] for row in summary(tmp_path, name)["runs"]} == {"finished"}
    assert summary(tmp_path, "one")["best"] == summary(tmp_path, "two")["best"]


def test_a_waiting_sweep_takes_over_the_run_of_a_killed_process(tmp_path: Path, base_overrides: list[str]) -> None:
    settings = ("seed=0", "trainer.max_epochs=100", "trainer.patience=100", "optimizer.learning_rate=1e-6")
    killed = start(tmp_path, base_overrides, "killed", *settings)
    history = None
    while history is None and killed.poll() is None:
        time.sleep(0.1)
        history = next((tmp_path / "runs").glob("*/history.csv"), None)
    os.kill(killed.pid, signal.SIGSTOP)  # it keeps its claim and makes no progress
    waiting = start(tmp_path, base_overrides, "waiting", *settings, "runtime.wait_for_others=true")
    assert waiting.stdout is not None
    for line in waiting.stdout:
        if "waiting for 1 runs" in line:
            break
    os.kill(killed.pid, signal.SIGKILL)
    output, _ = waiting.communicate(timeout=250)
    assert waiting.returncode == 0, output
    assert "training custom-" in output
    assert summary(tmp_path, "waiting")["runs"][0]["status"] == "finished"
    killed.communicate()
