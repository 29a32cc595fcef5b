"""Memory of the process, on a CPU: kept between the steps of a run, given back at times, and its peak known.

PyTorch frees every large tensor of a step, glibc gives its pages back to the kernel, and the next step faults
them in again one by one: that can cost more than the arithmetic. Told to keep freed memory, the same step
takes a fraction of the time for a little more peak memory.
"""

import ctypes
import platform
from pathlib import Path

import torch

# from glibc's malloc.h
M_MXFAST = 1  # bytes: smaller pieces are not joined with the hole beside them when they are freed
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
TOP_PAD = 256 * 2**20  # bytes asked of the kernel beyond what is needed

PROCESS = Path("/proc/self")
FORGET_PEAK = "5"  # for clear_refs, see proc(5)


def tune_malloc() -> None:
    """Makes glibc keep what is freed, for the rest of the process; elsewhere it does nothing."""
    if libc := _glibc():
        libc.mallopt(M_MXFAST, 0)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        libc.mallopt(M_TOP_PAD, TOP_PAD)


def trim_malloc() -> None:
    """Returns to the kernel what was kept, such as that of a larger run before this one.

    Or once something large has come to stay: the next step lays out its memory anew around it, and would not use the
    same places again.
    """
    if libc := _glibc():
        libc.malloc_trim(0)


class PeakMemory:
    """The most memory that a run held at once, from the making of this object on.

    Above what was held before. On a GPU: of its tensors. On a CPU: of the process, without mapped files, as the kernel
    of Linux counts it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: int | None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        else:
            self._before = _process("RssAnon")
            try:
                (PROCESS / "clear_refs").write_text(FORGET_PEAK)
            except OSError:  # another system, or a container that forbids it
                self._before = None

    def mib(self) -> float | None:
        """MiB; None where the system does not tell."""
        if self._device.type == "cuda" and self._before is not None:
            return (torch.cuda.max_memory_allocated(self._device) - self._before) / 2**20
        peak, mapped = _process("VmHWM"), _process("RssFile")
        if self._before is None or peak is None or mapped is None:
            return None
        return (peak - mapped - self._before) / 2**20


def _process(name: str) -> int | None:
    """Bytes, by the kernel's account of this process; None where there is none."""
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
