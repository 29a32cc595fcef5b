"""What this process may use of the machine."""

import os


def cores() -> int:
    """Cores of the CPU, where the system can say so without those that the process must not use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
