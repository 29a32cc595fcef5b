"""Sweeps of a slow network by Hydra's launchers, started as users start them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sweep.execution.test_processes import DATA, NETWORK, ROOT, YAML

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A Slurm of this machine, and the overrides that use it."""
    if shutil.which("slurmctld") is None or os.geteuid() != 0:
        pytest.skip("slurm-wlm is not installed, or this is not root")
    folder = tmp_path_factory.mktemp("slurm")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    script = Path(__file__).parent / "slurm.sh"
    subprocess.run([script, "start", folder], check=True)
    yield ["hydra/launcher=submitit_slurm", "runtime.parallel_runs=2", "hydra.launcher.cpus_per_task=1",
           "hydra.launcher.mem_gb=1"]  # fmt: skip
    subprocess.run([script, "stop", folder], check=True)


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Start]:
    """Starts a sweep in the folder of this name, with overrides; leaves none behind."""
    (tmp_path / "slow.py").write_text(NETWORK)
    (tmp_path / "settings" / "model").mkdir(parents=True)
    (tmp_path / "settings" / "model" / "slow.yaml").write_text(YAML)
    started = []

    def run(name: str, *overrides: str) -> "subprocess.Popen[str]":
        line = [sys.executable, str(ROOT / "train.py"), "--config-dir", "settings", "-m", "model=slow", *DATA]
        line += [f"runtime.cache={cache}", f"hydra.sweep.dir={name}", "runtime.store=runs", "sweep.report=false"]
        process = subprocess.Popen(
            [*line, *overrides], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        )  # fmt: skip
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
