"""Each of Hydra's launchers for real: a worker killed, a sweep stopped, errors told, a search of several at once."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from tests.sweep.cluster.conftest import Start
from tests.sweep.execution.test_processes import finish, statuses, wait_for

pytestmark = pytest.mark.skipif("CRACKDET_CLUSTER" not in os.environ, reason="make test-cluster runs it")

FOREVER = ("trainer.max_epochs=1000", "trainer.patience=1000", "runtime.checkpoint_minutes=0")


@pytest.fixture(params=["joblib", "submitit_local", "submitit_slurm", "ray"])
def launcher(request: pytest.FixtureRequest) -> list[str]:
    """The overrides that choose a launcher, two workers at once."""
    if request.param == "submitit_slurm":
        overrides: list[str] = request.getfixturevalue("slurm")
        return overrides
    if request.param == "ray":
        pytest.importorskip("ray")
        return ["hydra/launcher=ray", "runtime.parallel_runs=2", "hydra.launcher.ray.init.num_cpus=2"]
    return [f"hydra/launcher={request.param}", "runtime.parallel_runs=2"]


def pids(sweep: Path) -> list[int]:
    logs = sorted(sweep.glob("worker-*.log"))
    return [int(process) for log in logs for process in re.findall(r"^worker (\d+)", log.read_text(), re.MULTILINE)]


def is_there(process: int) -> bool:
    """Whether it lives, or died without having been buried, as a killed one may until its parent looks."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def none_is_left(sweep: Path) -> bool:
    until = time.monotonic() + 20  # a signal's way through a scheduler
    while any(map(is_there, pids(sweep))) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(map(is_there, pids(sweep)))


def test_a_killed_worker_costs_its_own_run_some_epochs_and_nothing_else(
    launcher: list[str], start: Start, tmp_path: Path
) -> None:
    sweep = start("sweep", *launcher, "seed=0,1,2", "trainer.max_epochs=60", "trainer.patience=60",
                  "runtime.checkpoint_minutes=0")  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
    os.kill(pids(tmp_path / "sweep")[0], signal.SIGKILL)
    status, output = finish(sweep)
    assert status == 0, output
    (run,) = re.findall(r"worker 1 .* while it trained (slow-[0-9a-f]{12})", output)
    assert re.search(rf"\[\d\] going on from {run}", output), output
    assert "Traceback" not in output
    assert output.count("] training slow-") == 4, "the others were not begun again"
    assert statuses(tmp_path / "runs") == [Status.FINISHED] * 3
    assert none_is_left(tmp_path / "sweep")


def test_a_sweep_that_is_stopped_or_killed_leaves_no_worker_and_goes_on(
    launcher: list[str], start: Start, tmp_path: Path
) -> None:
    sweep = start("one", *launcher, "seed=0,1,2", *FOREVER)
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does
    status, output = finish(sweep)
    assert status == 130, output
    assert output.count("is saved; the same command goes on from here") == 2, output
    assert "Traceback" not in output
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2
    assert none_is_left(tmp_path / "one")

    sweep = start("two", *launcher, "seed=0,1", *FOREVER)
    wait_for(lambda: statuses(tmp_path / "runs") == [Status.RUNNING] * 2, sweep)
    sweep.kill()
    assert none_is_left(tmp_path / "two"), "they notice that it has gone"
    assert statuses(tmp_path / "runs") == [Status.INTERRUPTED] * 2


def test_every_error_is_told(launcher: list[str], start: Start, tmp_path: Path) -> None:
    sweep = start("sweep", *launcher, "model.seconds=0,a,b", "trainer.max_epochs=1")
    status, output = finish(sweep)
    assert status == 1, output
    assert len(set(re.findall(r"\[\d\] (slow-\S+ failed: TypeError: .*)", output))) == 2, output
    assert sorted(statuses(tmp_path / "runs")) == [Status.FAILED, Status.FAILED, Status.FINISHED]


def test_a_search_has_two_runs_at_once_and_suggests_none_twice(
    launcher: list[str], start: Start, tmp_path: Path
) -> None:
    search = start("search", *launcher, "hydra/sweeper=crackdet_optuna", "model.width=range(1,100)",
                   "hydra.sweeper.n_trials=6", "trainer.max_epochs=20", "trainer.patience=20",
                   "runtime.checkpoint_minutes=0")  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) >= 2, search)
    assert statuses(tmp_path / "runs").count(Status.RUNNING) == 2
    os.kill(pids(tmp_path / "search")[0], signal.SIGKILL)
    status, output = finish(search)
    assert status == 0, output
    assert statuses(tmp_path / "runs") == [Status.FINISHED] * 6
    widths = [run.snapshot().config["model"]["width"] for run in RunStore(tmp_path / "runs").runs()]
    assert len(set(widths)) == 6, "none is suggested twice"
    assert none_is_left(tmp_path / "search")
