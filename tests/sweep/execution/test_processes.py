"""Sweeps by several workers, started as users start them: killed, stopped, and beside another sweep."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status

ROOT = Path(__file__).parents[3]
NETWORK = """
import os, time
from torch import nn

class Slow(nn.Conv2d):
    '''Says who computes it where, and takes its time.'''
    def __init__(self, width, seconds):
        super().__init__(3, width, 3)
        self.seconds = seconds
        print("worker", os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    def forward(self, images):
        if not images.is_meta:
            time.sleep(self.seconds)
        return super().forward(images)
"""
YAML = "_target_: slow.Slow\nname: slow\nwidth: 2\nseconds: 0.02\nlinear_features: 4\n"
DATA = ("data.num_images=24", "data.image_size=24", "trainer.batch_size=16")
LONG = ("trainer.max_epochs=1000", "trainer.patience=1000")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Start]:
    """Starts sweeps of a slow network, and leaves none of them behind."""
    (tmp_path / "slow.py").write_text(NETWORK)
    (tmp_path / "settings" / "model").mkdir(parents=True)
    (tmp_path / "settings" / "model" / "slow.yaml").write_text(YAML)
    started = []

    def run(name: str, *overrides: str, **environment: str) -> "subprocess.Popen[str]":
        line = [sys.executable, str(ROOT / "train.py"), "--config-dir", "settings", "-m", "model=slow", *DATA]
        line += [f"runtime.cache={cache}", f"hydra.sweep.dir={name}", "runtime.store=runs", *overrides]
        process = subprocess.Popen(
            line, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def wait_for(what: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 150
    while not what() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)


def said(folder: Path) -> list[list[str]]:
    """What the network said in the workers' logs: process and GPU, of each run."""
    logs = sorted(folder.glob("worker-*.log"))
    return [words.split()[1:] for log in logs for words in re.findall(r"^worker .*", log.read_text(), re.MULTILINE)]


def statuses(store: Path) -> list[Status]:
    return [run.status() for run in RunStore(store).runs()]


def test_a_worker_that_is_killed_costs_nothing_but_time(start: Start, tmp_path: Path) -> None:
    sweep = start("sweep", "seed=0,1,2", "trainer.max_epochs=40", "trainer.patience=40", "runtime.parallel_runs=2",
                  "runtime.checkpoint_minutes=0", CUDA_VISIBLE_DEVICES="3,5")  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
    victim = re.findall(r"^worker (\d+)", (tmp_path / "sweep" / "worker-1.log").read_text(), re.MULTILINE)[-1]
    os.kill(int(victim), signal.SIGKILL)
    status, output = finish(sweep)
    assert status == 0, output
    (run,) = re.findall(r"worker 1 was killed by SIGKILL while it trained (slow-[0-9a-f]{12})", output)
    assert f"[1] going on from {run}" in output
    assert sorted(re.findall(r"finished (slow-\S+):", output)) == sorted(
        run.id for run in RunStore(tmp_path / "runs").runs()
    )
    assert statuses(tmp_path / "runs") == [Status.FINISHED] * 3
    spoken = said(tmp_path / "sweep")
    assert {gpu for _, gpu in spoken} == {"3", "5"} and len({process for process, _ in spoken}) == 3
    for process, _ in spoken:
        assert not Path(f"/proc/{process}").exists(), "no worker is left behind"


def test_a_signal_ends_all_workers_with_their_states_saved_and_so_does_the_death_of_their_sweep(
    start: Start, tmp_path: Path
) -> None:
    sweep = start("one", "seed=0,1,2", *LONG, "runtime.parallel_runs=2")
    wait_for(lambda: len(list(tmp_path.glob("runs/*/history.csv"))) == 2, sweep)
    sweep.send_signal(signal.SIGINT)
    status, output = finish(sweep)
    assert status == 130, output
    assert "stopping: 2 runs are being saved" in output and "Traceback" not in output
    assert output.count("is saved; the same command goes on from here") == 2
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert sorted(row["status"] for row in summary["runs"]) == ["interrupted", "interrupted", "todo"]
    assert not any(Path(f"/proc/{process}").exists() for process, _ in said(tmp_path / "one")), "no worker is left"

    sweep = start("two", "seed=0,1", *LONG, "runtime.parallel_runs=2")
    saved = [path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/resume.pt")]
    wait_for(lambda: statuses(tmp_path / "runs") == [Status.RUNNING] * 2, sweep)
    sweep.kill()
    until = time.monotonic() + 60
    while Status.RUNNING in statuses(tmp_path / "runs") and time.monotonic() < until:
        time.sleep(0.05)
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2, "nobody holds them"
    assert [path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/resume.pt")] > saved


def test_two_searches_with_workers_share_the_trials(start: Start, tmp_path: Path) -> None:
    search = ("hydra/sweeper=crackdet_optuna", "model.width=range(1,100)", "hydra.sweeper.n_trials=9",
              "trainer.max_epochs=3", "runtime.wait_for_others=true", "hydra/sweeper/pruner=median",
              "hydra.sweeper.pruner.n_startup_trials=2")  # fmt: skip
    both = [start("one", *search, "runtime.parallel_runs=2"), start("two", *search)]
    (first, one), (second, two) = map(finish, both)
    assert first == second == 0, one + two
    trained = [re.findall(r"^(?:\[\d\] )?training (\S+):", output, re.MULTILINE) for output in (one, two)]
    assert len(trained[0]) + len(trained[1]) == 9 == len({*trained[0], *trained[1]}), "no run twice, none too many"
    assert all(trained), "both had a share"
    assert set(statuses(tmp_path / "runs")) <= {Status.FINISHED, Status.PRUNED}
    assert "9 trials: " in one and "9 trials: " in two
