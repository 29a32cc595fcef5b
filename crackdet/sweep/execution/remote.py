"""The main function of workers that a Hydra launcher starts, on this machine or another."""

import contextlib
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from crackdet.core.signals import Interrupted, ignore_repeated_signals
from crackdet.sweep.execution.file_connection import ConnectionDir
from crackdet.sweep.execution.resources import NUM_THREADS, WorkerResources
from crackdet.sweep.execution.worker import SweepContext, detach_from_terminal, worker_loop


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker needs to start."""

    name: str  # of its connection
    connections: Path  # the folder of the connections
    resources: WorkerResources
    context: SweepContext
    working_directory: str
    python_path: list[str]
    shares_terminal: bool  # whether the worker runs in the terminal of the sweep


def remote_main(spec: WorkerSpec) -> None:
    """Run a worker; the launcher calls this function in a process of its own."""
    os.chdir(spec.working_directory)
    sys.path += [entry for entry in spec.python_path if entry not in sys.path]
    if spec.shares_terminal:
        detach_from_terminal()
    for name in ("SIGUSR1", "SIGUSR2"):  # submitit's warning that the time limit of a Slurm job is near
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _on_time_limit)
    logging.getLogger("submitit").propagate = False  # submitit logs signals to its own files
    if "SLURM_CPUS_PER_TASK" in os.environ:
        os.environ.setdefault(NUM_THREADS, os.environ["SLURM_CPUS_PER_TASK"])
    ignore_repeated_signals()
    with contextlib.suppress(Interrupted):
        worker_loop(ConnectionDir.connect_to_sweep(spec.connections, spec.name), spec.resources, spec.context)
    if spec.shares_terminal and not ConnectionDir.is_open(spec.connections):
        os._exit(0)  # the sweep has died, which joblib's processes do not notice


def _on_time_limit(_signum: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)
