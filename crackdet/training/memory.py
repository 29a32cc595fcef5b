"""Memory kept by the process, on a CPU.

PyTorch frees every large tensor of a step, glibc gives its pages back to the kernel, and the next step faults
them in again one by one: that can cost more than the arithmetic. Told to keep freed memory, the same step
takes a fraction of the time for a little more peak memory.
"""

import ctypes
import platform

# from glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
TOP_PAD = 256 * 2**20  # bytes asked of the kernel beyond what is needed


def keep_freed_memory() -> None:
    """Makes glibc keep what is freed, for the rest of the process; elsewhere it does nothing."""
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    mallopt(M_TOP_PAD, TOP_PAD)
