"""Sweeps of a slow network with Hydra's launchers, started as users start them."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.slow_sweep import Process, Start, start_sweep, write_network


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Run Slurm on this machine; the overrides that use it."""
    if shutil.which("slurmctld") is None or os.geteuid() != 0:
        pytest.skip("needs a cluster: slurm-wlm and root")
    folder = tmp_path_factory.mktemp("slurm")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    script = Path(__file__).parent / "slurm.sh"
    subprocess.run([script, "start", folder], check=True)
    yield ["hydra/launcher=submitit_slurm", "runtime.parallel_runs=2", "hydra.launcher.cpus_per_task=1",
           "hydra.launcher.mem_gb=1"]  # fmt: skip
    subprocess.run([script, "stop", folder], check=True)


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Start]:
    """Start sweeps, and stop those that are left at the end."""
    write_network(tmp_path)
    started: list[Process] = []

    def run(name: str, *overrides: str) -> Process:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = start_sweep(
            tmp_path, cache, name, "sweep.report=false", *overrides, env=environment, start_new_session=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()
