"""What happens on clusters only: Slurm preempts a job or its time limit is reached, Ray loses a node."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from crackdet.store.snapshot import Status
from tests.sweep.slow_sweep import Start, finish, statuses, wait_for

pytestmark = pytest.mark.skipif("CRACKDET_CLUSTER" not in os.environ, reason="needs a cluster: make test-cluster")

GRID = ("seed=0,1,2", "trainer.max_epochs=100", "trainer.patience=100", "runtime.checkpoint_minutes=60")


def test_a_job_that_slurm_preempts_saves_its_run_and_resumes_it(slurm: list[str], start: Start, tmp_path: Path) -> None:
    single = ("runtime.parallel_runs=1", "hydra.launcher.array_parallelism=1")  # no other worker resumes the run
    sweep = start("sweep", *slurm, *single, "seed=0", *GRID[1:])
    wait_for(lambda: list(tmp_path.glob("runs/*/history.csv")), sweep)
    urgent = ["sbatch", "--partition=first", "--cpus-per-task=2", "--mem=1G", "--output=/dev/null", "--wrap=sleep 5"]
    subprocess.run(urgent, check=True, cwd=tmp_path)
    status, output = finish(sweep)
    assert status == 0, output
    assert "worker 1 was preempted or has reached its time limit (SIGTERM)" in output, output
    assert "] slow-" in output and "is saved; the same command resumes" in output
    assert "worker 1 is back" in output, "Slurm restarts the same job"
    assert re.search(r"\[1\] resuming from slow-\S+", output), output
    assert statuses(tmp_path / "runs") == [Status.FINISHED]


def test_a_job_at_its_time_limit_saves_its_run_and_another_job_resumes_it(
    slurm: list[str], start: Start, tmp_path: Path
) -> None:
    run = ("seed=0", "trainer.max_epochs=400", "trainer.patience=400", "runtime.checkpoint_minutes=60")
    sweep = start("sweep", *slurm, *run, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=40")
    status, output = finish(sweep)
    assert status == 0, output
    assert re.search(r"worker \d was preempted or has reached its time limit \(SIGTERM\)", output), output
    assert "resuming from slow-" in output
    assert statuses(tmp_path / "runs") == [Status.FINISHED]


def test_a_lost_ray_node_costs_some_epochs_of_its_runs_only(start: Start, tmp_path: Path) -> None:
    utils = pytest.importorskip("ray.cluster_utils")
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        sweep = start("sweep", "hydra/launcher=ray", f"hydra.launcher.ray.init.address={cluster.address}", *GRID[:-1],
                      "runtime.checkpoint_minutes=0")  # fmt: skip
        wait_for(lambda: len(list(tmp_path.glob("runs/*/resume.pt"))) == 2, sweep)
        cluster.remove_node(lost, allow_graceful=False)
        status, output = finish(sweep)
        assert status == 0, output
        assert "Ray: 2 workers on 2 nodes" in output
        (run,) = re.findall(r"worker \d .* while it trained (slow-\S+);", output)
        assert re.search(rf"\[\d\] resuming from {run}", output), output
        assert output.count("] training slow-") == 4, "the other runs are not restarted"
        assert statuses(tmp_path / "runs") == [Status.FINISHED] * 3
    finally:
        cluster.shutdown()
