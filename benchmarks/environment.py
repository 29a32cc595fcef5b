"""The machine and its limits: arithmetic and memory traffic, by the simplest operations that reach them."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """Measured rates of this machine."""

    description: str
    fp32: float  # FLOP/s of a matrix product
    bf16: float
    traffic: float  # bytes/s read and written

    def __str__(self) -> str:
        return (
            f"{self.description}; {self.fp32 / 1e9:.0f} GFLOP/s in fp32, {self.bf16 / 1e9:.0f} in bf16, "
            f"{self.traffic / 1e9:.0f} GB/s of memory traffic"
        )


def measure_machine(device: torch.device) -> Machine:
    """Best of several: these are limits."""
    size = 8192 if device.type == "cuda" else 2048

    def product(dtype: torch.dtype) -> float:
        a = torch.rand(size, size, device=device).to(dtype)
        return 2 * size**3 / _best(lambda: a @ a, device)

    source = torch.rand(100_000_000, device=device)
    target = torch.empty_like(source)
    moving = min(_best(lambda: target.copy_(source), device), _best(lambda: target.neg_(), device))
    traffic = 2 * source.nbytes / moving  # read and written, from one place to another or in place
    return Machine(_describe(device), product(torch.float32), product(torch.bfloat16), traffic)


def _best(operation: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        operation()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
        name = f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"
    return f"{name}, Python {platform.python_version()}, torch {torch.__version__}"
