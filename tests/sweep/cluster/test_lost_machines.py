"""What only clusters do: a job of Slurm that is preempted and put back into the queue, a node of Ray that is lost."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from crackdet.store.snapshot import Status
from tests.sweep.cluster.conftest import Start
from tests.sweep.execution.test_processes import finish, statuses, wait_for

pytestmark = pytest.mark.skipif("CRACKDET_CLUSTER" not in os.environ, reason="make test-cluster runs it")

GRID = ("seed=0,1,2", "trainer.max_epochs=100", "trainer.patience=100", "runtime.checkpoint_minutes=60")


def has_begun(store: Path, runs: int) -> bool:
    return len(list(store.glob("*/history.csv"))) >= runs


def test_a_job_that_slurm_preempts_saves_its_run_and_goes_on_when_it_is_back(
    slurm: list[str], start: Start, tmp_path: Path
) -> None:
    alone = ("runtime.parallel_runs=1", "hydra.launcher.array_parallelism=1")  # no other worker goes on with it
    sweep = start("sweep", *slurm, *alone, "seed=0", *GRID[1:])
    wait_for(lambda: has_begun(tmp_path / "runs", 1), sweep)
    urgent = ["sbatch", "--partition=first", "--cpus-per-task=2", "--mem=1G", "--output=/dev/null", "--wrap=sleep 5"]
    subprocess.run(urgent, check=True, cwd=tmp_path)
    status, output = finish(sweep)
    assert status == 0, output
    assert "worker 1 was told to go (SIGTERM)" in output, output
    assert "] slow-" in output and "is saved; the same command goes on" in output
    assert "worker 1 is back" in output, "the same job, started again by Slurm"
    assert re.search(r"\[1\] going on from slow-\S+", output), output
    assert statuses(tmp_path / "runs") == [Status.FINISHED]


def test_a_job_whose_time_is_over_saves_its_run_and_another_one_goes_on(
    slurm: list[str], start: Start, tmp_path: Path
) -> None:
    one = ("seed=0", "trainer.max_epochs=400", "trainer.patience=400", "runtime.checkpoint_minutes=60")
    sweep = start("sweep", *slurm, *one, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=40")
    status, output = finish(sweep)
    assert status == 0, output
    assert re.search(r"worker \d was told to go \(SIGTERM\)", output), output
    assert "going on from slow-" in output
    assert statuses(tmp_path / "runs") == [Status.FINISHED]


def test_a_node_of_ray_that_is_lost_costs_its_runs_some_epochs(start: Start, tmp_path: Path) -> None:
    utils = pytest.importorskip("ray.cluster_utils")
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        doomed = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        sweep = start("sweep", "hydra/launcher=ray", f"hydra.launcher.ray.init.address={cluster.address}", *GRID[:-1],
                      "runtime.checkpoint_minutes=0")  # fmt: skip
        wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
        cluster.remove_node(doomed, allow_graceful=False)
        status, output = finish(sweep)
        assert status == 0, output
        assert "Ray: 2 workers on 2 nodes" in output
        (run,) = re.findall(r"worker \d .* while it trained (slow-\S+);", output)
        assert re.search(rf"\[\d\] going on from {run}", output), output
        assert output.count("] training slow-") == 4, "the others were not begun again"
        assert statuses(tmp_path / "runs") == [Status.FINISHED] * 3
    finally:
        cluster.shutdown()
