"""What each worker gets of the machine: a GPU where there are any, else its share of the cores."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from crackdet.config.schema import Runtime
from crackdet.core.machine import num_cores

GPUS, THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"


@dataclass(frozen=True)
class WorkerResources:
    """A worker's place: its number from 1, and the environment that keeps it there."""

    number: int
    environment: Mapping[str, str]

    def take(self) -> None:
        """Sits down: torch, which reads the environment when it is imported, must not be imported yet."""
        os.environ.update(self.environment)


def allocate(runtime: Runtime, count: int | None = None) -> list[WorkerResources]:
    """A seat on this machine for each of `count` workers; None: of `runtime.parallel_runs`.

    GPUs go round, one to each worker, where `runtime.device` does not name one. The cores that this process may use
    are divided, unless `runtime.num_threads` or OMP_NUM_THREADS says how many threads a process has.
    """
    shared: dict[str, str] = {}
    count = runtime.parallel_runs if count is None else count
    if runtime.num_threads is None and THREADS not in os.environ:
        shared[THREADS] = str(max(1, num_cores() // count))
    gpus = visible_gpus() if runtime.device in ("auto", "cuda") else []
    return [
        WorkerResources(number + 1, {**shared, GPUS: gpus[number % len(gpus)]} if gpus else shared)
        for number in range(count)
    ]


def describe(taken: list[WorkerResources]) -> str:
    """What the workers share the machine as, for the log."""
    gpus = list(dict.fromkeys(seat.environment[GPUS] for seat in taken if GPUS in seat.environment))
    threads = taken[0].environment.get(THREADS)
    parts = [f"GPUs {', '.join(gpus)}" if len(gpus) > 1 else f"GPU {gpus[0]}"] if gpus else []
    parts += [f"{threads} thread{'s' * (threads != '1')} each"] if threads and not gpus else []
    return f"{len(taken)} workers" + "".join(f", {part}" for part in parts)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if GPUS in os.environ:
        names = [name.strip() for name in os.environ[GPUS].split(",")]
        return names[: names.index("-1")] if "-1" in names else [name for name in names if name]
    import torch  # seconds, but the parent looks at every network before it begins

    return [str(index) for index in range(torch.cuda.device_count())]  # starts nothing on them
