"""Memory of a CPU process: kept between the steps of a run, returned between runs, and its peak.

PyTorch frees every large tensor of a step, glibc returns the pages to the kernel, and the next step faults them in
again one by one, which can take longer than the arithmetic. Keeping freed memory raises the peak only slightly.
"""

import ctypes
import platform
from pathlib import Path

import torch

# from glibc's malloc.h
M_MXFAST = 1  # bytes: smaller freed chunks are not merged with their neighbours
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
TOP_PAD = 256 * 2**20  # bytes requested from the kernel beyond what is needed

STATUS = Path("/proc/self/status")


def tune_malloc() -> None:
    """Make glibc keep freed memory for the rest of the process; without glibc, do nothing."""
    if libc := _glibc():
        libc.mallopt(M_MXFAST, 0)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        libc.mallopt(M_TOP_PAD, TOP_PAD)


def trim_malloc() -> None:
    """Return kept memory to the kernel: of an earlier run, or after large long-lived allocations.

    After these, the next step places its tensors elsewhere and would leave the memory of the last one unused.
    """
    if libc := _glibc():
        libc.malloc_trim(0)


class PeakMemory:
    """Peak memory of a run since this object was made, beyond what was allocated before.

    On a GPU, the memory of its tensors. On a CPU, that of the process without mapped files, as counted by Linux.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: int | None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        else:
            self._before = kernel_bytes(STATUS, "RssAnon")
            try:
                Path("/proc/self/clear_refs").write_text("5")  # resets the peak, see proc(5)
            except OSError:  # not Linux, or a container that forbids it
                self._before = None

    def mib(self) -> float | None:
        """Return the peak in MiB; None if the system does not report it."""
        if self._device.type == "cuda" and self._before is not None:
            return (torch.cuda.max_memory_allocated(self._device) - self._before) / 2**20
        peak, mapped = kernel_bytes(STATUS, "VmHWM"), kernel_bytes(STATUS, "RssFile")
        if self._before is None or peak is None or mapped is None:
            return None
        return (peak - mapped - self._before) / 2**20


def kernel_bytes(file: Path, name: str) -> int | None:
    """Return a number of bytes from a file in `/proc` with a line `name: ... kB`; None if it has none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
