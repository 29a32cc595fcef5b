"""What this process may use of the machine, and what the machine is."""

import os
import platform
from pathlib import Path


def num_cores() -> int:
    """Cores of the CPU, where the system can say so without those that the process must not use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """`AMD EPYC 9R14`: the CPU's name as the system tells it; on a virtual machine it may be a vague one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
