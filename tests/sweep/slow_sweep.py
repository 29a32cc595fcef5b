"""Sweeps of a slow network, started as users start them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status

ROOT = Path(__file__).parents[2]
NETWORK = """
import os, time
from torch import nn

class Slow(nn.Conv2d):
    '''Prints which process computes it on which GPU, and sleeps.'''
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

Process = subprocess.Popen[str]
Start = Callable[..., Process]


def write_network(folder: Path) -> None:
    (folder / "slow.py").write_text(NETWORK)
    (folder / "settings" / "model").mkdir(parents=True)
    (folder / "settings" / "model" / "slow.yaml").write_text(YAML)


def start_sweep(folder: Path, cache: Path, name: str, *overrides: str, **popen: Any) -> Process:
    """Start a sweep in `folder`; its own folder is called `name`."""
    command = [sys.executable, str(ROOT / "train.py"), "--config-dir", "settings", "-m", "model=slow", *DATA]
    command += [f"runtime.cache={cache}", f"hydra.sweep.dir={name}", "runtime.store=runs", *overrides]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen)


def finish(process: Process) -> tuple[int, str]:
    """Wait for a sweep; return its exit status and output."""
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def wait_for(condition: Callable[[], object], process: Process) -> None:
    """Wait until the condition holds, the sweep ends, or 150 seconds have passed."""
    end = time.monotonic() + 150
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)


def printed(sweep: Path) -> list[tuple[int, str]]:
    """Return process and GPU of each run, as the network printed them to the logs of the workers."""
    logs = sorted(sweep.glob("worker-*.log"))
    lines = [line for log in logs for line in re.findall(r"^worker (\d+) (\S*)", log.read_text(), re.MULTILINE)]
    return [(int(process), gpu) for process, gpu in lines]


def processes(sweep: Path) -> list[int]:
    """Return the processes that have built the network, of which there is at least one."""
    found = [process for process, _ in printed(sweep)]
    assert found, f"no worker has written to {sweep}"
    return found


def is_alive(process: int) -> bool:
    """Return whether a process lives, or has died and its parent has not noticed."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def statuses(store: Path) -> list[Status]:
    return [run.status() for run in RunStore(store).runs()]
