"""Divides the GPUs or the cores of this machine among workers."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crackdet.config.schema import Runtime
from crackdet.core.machine import num_cores

VISIBLE_GPUS, NUM_THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"  # environment variables


@dataclass(frozen=True)
class WorkerResources:
    """The number of a worker, from 1, and the environment variables that limit it to its share of the machine."""

    number: int
    environment: Mapping[str, str]

    def apply(self) -> None:
        """Set the environment variables; call before torch is imported."""
        os.environ.update(self.environment)


def allocate(runtime: Runtime, num_workers: int | None = None) -> list[WorkerResources]:
    """Return the resources of each worker; `num_workers` defaults to `runtime.parallel_runs`.

    Each worker gets one GPU, round-robin, unless `runtime.device` names a device. The cores are divided unless
    `runtime.num_threads` or OMP_NUM_THREADS gives the number of threads of a process.
    """
    shared: dict[str, str] = {}
    num_workers = runtime.parallel_runs if num_workers is None else num_workers
    if runtime.num_threads is None and NUM_THREADS not in os.environ:
        shared[NUM_THREADS] = str(max(1, num_cores() // num_workers))
    gpus = visible_gpus() if runtime.device in ("auto", "cuda") else []
    return [
        WorkerResources(index + 1, {**shared, VISIBLE_GPUS: gpus[index % len(gpus)]} if gpus else shared)
        for index in range(num_workers)
    ]


def describe(allocated: Sequence[WorkerResources]) -> str:
    """Return `2 workers, GPUs 0, 1` or `2 workers, 4 threads each`."""
    gpus = list(dict.fromkeys(r.environment[VISIBLE_GPUS] for r in allocated if VISIBLE_GPUS in r.environment))
    threads = allocated[0].environment.get(NUM_THREADS)
    parts = [f"GPUs {', '.join(gpus)}" if len(gpus) > 1 else f"GPU {gpus[0]}"] if gpus else []
    parts += [f"{threads} thread{'s' * (threads != '1')} each"] if threads and not gpus else []
    return f"{len(allocated)} workers" + "".join(f", {part}" for part in parts)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if VISIBLE_GPUS in os.environ:
        names = [name.strip() for name in os.environ[VISIBLE_GPUS].split(",")]
        return names[: names.index("-1")] if "-1" in names else [name for name in names if name]
    import torch  # takes seconds, but the sweep imports it anyway to check the networks

    return [str(index) for index in range(torch.cuda.device_count())]  # does not initialise CUDA
