"""Measure the machine's limits: FLOP/s and memory traffic, by the simplest operations that reach them.

    python -m benchmarks.environment

prints them as one line of JSON, from a process of its own: a process that measures others must not hold GPU memory.
"""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import PIL
import torch

from crackdet.core.machine import cpu_name, num_cores

MAX_SECONDS = 5.0  # per operation; emulated bf16 is very slow


@dataclass(frozen=True)
class Machine:
    """Measured rates of this machine."""

    device: str  # cpu, cuda or mps
    description: str
    fp32: float  # FLOP/s of a matrix product
    bf16: float
    traffic: float  # bytes/s, read and written

    def __str__(self) -> str:
        return (
            f"{self.description}; {self.fp32 / 1e9:.0f} GFLOP/s in fp32, {self.bf16 / 1e9:.0f} in bf16, "
            f"{self.traffic / 1e9:.0f} GB/s of memory traffic"
        )


def default_device() -> torch.device:
    """Return the device of `runtime.device=auto`."""
    from crackdet.config.schema import Runtime  # here, because the start of Lightning's loop is timed
    from crackdet.training.device import choose_device

    return choose_device(Runtime())


def synchronize(device: torch.device) -> None:
    """Wait for the work that was submitted to the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def measure_machine(device: torch.device) -> Machine:
    """Return the best rate of several repeats of each operation."""
    size = 8192 if device.type == "cuda" else 2048

    def product(dtype: torch.dtype) -> float:
        a = torch.rand(size, size, device=device).to(dtype)
        return 2 * size**3 / _best(lambda: a @ a, device)

    source = torch.rand(100_000_000, device=device)
    target = torch.empty_like(source)
    seconds = min(_best(lambda: target.copy_(source), device), _best(lambda: target.neg_(), device))
    traffic = 2 * source.nbytes / seconds  # copied, or changed in place
    return Machine(device.type, _describe(device), product(torch.float32), product(torch.bfloat16), traffic)


def _best(operation: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    times: list[float] = []
    while len(times) < repeats and sum(times) < MAX_SECONDS:
        start = time.perf_counter()
        operation()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _describe(device: torch.device) -> str:
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return (
        f"{gpu}{cpu_name()}, {num_cores()} cores, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}, Pillow {PIL.__version__}"
    )


if __name__ == "__main__":
    print(json.dumps(asdict(measure_machine(default_device()))))
