"""Sweeps with `runtime.parallel_runs`, started as users start them: killed, stopped, and beside another sweep."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from tests.sweep.slow_sweep import (
    Process,
    Start,
    finish,
    is_alive,
    printed,
    processes,
    start_sweep,
    statuses,
    wait_for,
    write_network,
)

LONG = ("trainer.max_epochs=1000", "trainer.patience=1000")


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Start]:
    """Start sweeps, and kill those that are left at the end."""
    write_network(tmp_path)
    started: list[Process] = []

    def run(name: str, *overrides: str, **environment: str) -> Process:
        started.append(start_sweep(tmp_path, cache, name, *overrides, env={**os.environ, **environment}))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_worker_costs_nothing_but_time(start: Start, tmp_path: Path) -> None:
    sweep = start("sweep", "seed=0,1,2", "trainer.max_epochs=40", "trainer.patience=40", "runtime.parallel_runs=2",
                  "runtime.checkpoint_minutes=0", CUDA_VISIBLE_DEVICES="3,5")  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
    victim = re.findall(r"^worker (\d+)", (tmp_path / "sweep" / "worker-1.log").read_text(), re.MULTILINE)[-1]
    os.kill(int(victim), signal.SIGKILL)
    status, output = finish(sweep)
    assert status == 0, output
    (run,) = re.findall(r"worker 1 was killed by SIGKILL while it trained (slow-[0-9a-f]{12})", output)
    assert f"[1] resuming from {run}" in output
    assert sorted(re.findall(r"finished (slow-\S+):", output)) == sorted(
        run.id for run in RunStore(tmp_path / "runs").runs()
    )
    assert statuses(tmp_path / "runs") == [Status.FINISHED] * 3
    workers = printed(tmp_path / "sweep")
    assert {gpu for _, gpu in workers} == {"3", "5"} and len({process for process, _ in workers}) == 3
    assert not any(map(is_alive, processes(tmp_path / "sweep"))), "no worker is left behind"


def test_all_workers_save_their_runs_and_end_after_a_signal_and_after_the_death_of_the_sweep(
    start: Start, tmp_path: Path
) -> None:
    sweep = start("one", "seed=0,1,2", *LONG, "runtime.parallel_runs=2")
    wait_for(lambda: len(list(tmp_path.glob("runs/*/history.csv"))) == 2, sweep)
    sweep.send_signal(signal.SIGINT)
    status, output = finish(sweep)
    assert status == 130, output
    assert "stopping: 2 runs are being saved" in output and "Traceback" not in output
    assert output.count("is saved; the same command resumes it") == 2
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert sorted(row["status"] for row in summary["runs"]) == ["interrupted", "interrupted", "todo"]
    assert not any(map(is_alive, processes(tmp_path / "one"))), "no worker is left behind"

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/resume.pt")}
    assert len(before) == 2
    sweep = start("two", "seed=0,1", *LONG, "runtime.parallel_runs=2")
    wait_for(lambda: statuses(tmp_path / "runs") == [Status.RUNNING] * 2, sweep)
    sweep.kill()
    end = time.monotonic() + 60
    while Status.RUNNING in statuses(tmp_path / "runs") and time.monotonic() < end:
        time.sleep(0.05)
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2, "no process holds them"
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/resume.pt")}
    assert after.keys() == before.keys() and any(after[path] > before[path] for path in before)


def test_two_searches_with_workers_share_the_trials(start: Start, tmp_path: Path) -> None:
    search = ("hydra/sweeper=crackdet_optuna", "model.width=range(1,100)", "hydra.sweeper.n_trials=9",
              "trainer.max_epochs=3", "runtime.wait_for_others=true", "hydra/sweeper/pruner=median",
              "hydra.sweeper.pruner.n_startup_trials=2")  # fmt: skip
    both = [start("one", *search, "runtime.parallel_runs=2"), start("two", *search)]
    (first, one), (second, two) = map(finish, both)
    assert first == second == 0, one + two
    trained = [re.findall(r"^(?:\[\d\] )?training (\S+):", output, re.MULTILINE) for output in (one, two)]
    assert len(trained[0]) + len(trained[1]) == 9 == len({*trained[0], *trained[1]}), "no run twice, none too many"
    assert all(trained), "both trained some of the runs"
    assert set(statuses(tmp_path / "runs")) <= {Status.FINISHED, Status.PRUNED}
    assert "9 trials: " in one and "9 trials: " in two
