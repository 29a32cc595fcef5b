"""Searches as a user starts them: whole processes, some of them killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import TINY
from tests.preloaded import run_python

ROOT = Path(__file__).parents[3]
SPACE = ("model.linear_features=range(8,200,8)", "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))")
TINY_SPACE = [
    override
    for override in TINY
    if override.partition("=")[0] not in ("model.linear_features", "optimizer.learning_rate")
]


def start(folder: Path, base_overrides: list[str], name: str, *overrides: str) -> "subprocess.Popen[str]":
    line = [sys.executable, str(ROOT / "train.py"), "-m", "hydra/sweeper=crackdet_optuna", *TINY_SPACE, *base_overrides]
    return subprocess.Popen(
        [*line, *SPACE, f"hydra.sweep.dir={folder / name}", "runtime.num_threads=1", *overrides],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def statuses(folder: Path, name: str) -> list[str]:
    return [row["status"] for row in json.loads((folder / name / "summary.json").read_text())["runs"]]


def test_a_search_prunes_and_is_summarized_and_a_pruned_run_can_be_finished(
    tmp_path: Path, base_overrides: list[str]
) -> None:
    pruner = ("hydra/sweeper/pruner=successive_halving", "trainer.max_epochs=6", "hydra.sweeper.n_trials=8")
    status, output = finish(start(tmp_path, base_overrides, "one", "hydra.sweeper.sampler.seed=1", *pruner))
    assert status == 0, output
    assert "0 of 8 trials are in the store; the space is infinite; TPESampler, SuccessiveHalvingPruner" in output
    assert "8 trials: " in output and "max accuracy" in output and "Traceback" not in output
    found = statuses(tmp_path, "one")
    assert len(found) == 8 and set(found) == {"finished", "pruned"}
    pruned = re.search(r"training (\S+): (.*)\n(?:epoch .*\n)*pruned \1 after epoch", output)
    assert pruned, output
    shown = run_python(["-m", "crackdet", "summary", "one"], tmp_path)
    assert "8 trials: " in shown.stdout and f"pruned {pruned.group(1)}" in shown.stdout
    line = [ROOT / "train.py", *pruned.group(2).split(), f"hydra.run.dir={tmp_path / 'single'}"]
    alone = run_python(line, tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert f"resuming from {pruned.group(1)}" in alone.stdout and f"finished {pruned.group(1)}" in alone.stdout


def test_a_killed_search_leaves_no_running_trial_and_is_resumed(tmp_path: Path, base_overrides: list[str]) -> None:
    settings = ("hydra.sweeper.n_trials=2", "trainer.patience=400", "runtime.checkpoint_minutes=0")
    killed = start(tmp_path, base_overrides, "killed", *settings, "trainer.max_epochs=400")
    history = None
    while history is None and killed.poll() is None:
        time.sleep(0.05)
        history = next((tmp_path / "runs").glob("*/history.csv"), None)
    assert history is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    resumed = start(tmp_path, base_overrides, "resumed", *settings, "trainer.max_epochs=400")
    assert resumed.stdout is not None
    seen = []
    for line in resumed.stdout:
        seen.append(line)
        if line.startswith("epoch"):
            break
    assert "1 of 2 trials are in the store (1 interrupted)" in seen[0]
    assert f"training {history.parent.name}" in seen[1], "the interrupted trial comes first"
    os.kill(resumed.pid, signal.SIGINT)
    status, output = finish(resumed)
    assert status == 130 and "the same command resumes it" in output, output
    assert "1 trial: 1 interrupted" in output and statuses(tmp_path, "resumed") == ["interrupted"]


def test_settings_of_hydra_optuna_sweeper_work_with_both_sweepers(tmp_path: Path, base_overrides: list[str]) -> None:
    (tmp_path / "settings" / "experiment").mkdir(parents=True)
    (tmp_path / "settings" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n"
        "  - override /hydra: search\n"
        "  - override /hydra/sweeper/sampler: random\n"
        "hydra:\n"
        "  sweeper:\n"
        "    direction: maximize\n"
        "    study_name: widths\n"
        "    storage: null\n"
        "    n_trials: 2\n"
        "    n_jobs: 1\n"
        "    max_failure_rate: 1.0\n"
        "    sampler: {seed: 3}\n"
        "    params:\n"
        "      model.linear_features: range(8, 33, step=8)\n"
        "      model.conv_out: choice([4,8],[8])\n"
    )
    tiny = [override for override in TINY if not override.startswith("model.")]
    for sweeper in ("crackdet_optuna", "optuna"):
        line: list[str | Path] = [ROOT / "train.py", "--config-dir", "settings", "-m", "experiment=mine",
                f"hydra/sweeper={sweeper}", *tiny, *base_overrides, "trainer.max_epochs=1",
                f"hydra.sweep.dir={tmp_path / sweeper}"]  # fmt: skip
        result = run_python(line, tmp_path)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / sweeper / "optimization_results.yaml").exists()
        assert set(statuses(tmp_path, sweeper)) == {"finished"}
