"""Each of Hydra's launchers for real: a killed worker, a stopped sweep, failing runs, and a parallel search."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from tests.sweep.slow_sweep import Start, finish, processes, statuses, wait_for

pytestmark = pytest.mark.skipif("CRACKDET_CLUSTER" not in os.environ, reason="needs a cluster: make test-cluster")

ENDLESS = ("trainer.max_epochs=1000", "trainer.patience=1000", "runtime.checkpoint_minutes=0")


@pytest.fixture(params=["joblib", "submitit_local", "submitit_slurm", "ray"])
def launcher(request: pytest.FixtureRequest) -> list[str]:
    """The overrides that choose a launcher with two workers."""
    if request.param == "submitit_slurm":
        overrides: list[str] = request.getfixturevalue("slurm")
        return overrides
    if request.param == "ray":
        pytest.importorskip("ray")
        return ["hydra/launcher=ray", "runtime.parallel_runs=2", "hydra.launcher.ray.init.num_cpus=2"]
    return [f"hydra/launcher={request.param}", "runtime.parallel_runs=2"]


def is_running(process: int) -> bool:
    """Return whether a process lives; a dead one stays visible until its parent notices."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_workers_end(sweep: Path) -> bool:
    end = time.monotonic() + 20  # a signal takes a while through a scheduler
    while any(map(is_running, processes(sweep))) and time.monotonic() < end:
        time.sleep(0.1)
    return not any(map(is_running, processes(sweep)))


def test_a_killed_worker_costs_some_epochs_of_its_own_run_only(
    launcher: list[str], start: Start, tmp_path: Path
) -> None:
    sweep = start("sweep", *launcher, "seed=0,1,2", "trainer.max_epochs=60", "trainer.patience=60",
                  "runtime.checkpoint_minutes=0")  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
    os.kill(processes(tmp_path / "sweep")[0], signal.SIGKILL)
    status, output = finish(sweep)
    assert status == 0, output
    (run,) = re.findall(r"worker 1 .* while it trained (slow-[0-9a-f]{12})", output)
    assert re.search(rf"\[\d\] resuming from {run}", output), output
    assert "Traceback" not in output
    assert output.count("] training slow-") == 4, "the other runs are not restarted"
    assert statuses(tmp_path / "runs") == [Status.FINISHED] * 3
    assert all_workers_end(tmp_path / "sweep")


def test_a_stopped_or_killed_sweep_leaves_no_worker_and_can_be_resumed(
    launcher: list[str], start: Start, tmp_path: Path
) -> None:
    sweep = start("one", *launcher, "seed=0,1,2", *ENDLESS)
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does
    status, output = finish(sweep)
    assert status == 130, output
    assert output.count("is saved; the same command resumes it") == 2, output
    assert "Traceback" not in output
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2
    assert all_workers_end(tmp_path / "one")

    sweep = start("two", *launcher, "seed=0,1", *ENDLESS)
    wait_for(lambda: statuses(tmp_path / "runs") == [Status.RUNNING] * 2, sweep)
    sweep.kill()
    assert all_workers_end(tmp_path / "two"), "they notice the death of the sweep"
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2


def test_every_error_is_logged(launcher: list[str], start: Start, tmp_path: Path) -> None:
    sweep = start("sweep", *launcher, "model.seconds=0,a,b", "trainer.max_epochs=1")
    status, output = finish(sweep)
    assert status == 1, output
    assert len(set(re.findall(r"\[\d\] (slow-\S+ failed: TypeError: .*)", output))) == 2, output
    assert sorted(statuses(tmp_path / "runs")) == [Status.FAILED, Status.FAILED, Status.FINISHED]


def test_a_search_trains_two_runs_at_once_and_suggests_none_twice(
    launcher: list[str], start: Start, tmp_path: Path
) -> None:
    search = start("search", *launcher, "hydra/sweeper=crackdet_optuna", "model.width=range(1,100)",
                   "hydra.sweeper.n_trials=6", "trainer.max_epochs=20", "trainer.patience=20",
                   "runtime.checkpoint_minutes=0")  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) >= 2, search)
    assert statuses(tmp_path / "runs").count(Status.RUNNING) == 2
    os.kill(processes(tmp_path / "search")[0], signal.SIGKILL)
    status, output = finish(search)
    assert status == 0, output
    assert statuses(tmp_path / "runs") == [Status.FINISHED] * 6
    widths = [run.snapshot().config["model"]["width"] for run in RunStore(tmp_path / "runs").runs()]
    assert len(set(widths)) == 6, "none is suggested twice"
    assert all_workers_end(tmp_path / "search")
