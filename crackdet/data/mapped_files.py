"""Memory-mapped array files."""

import errno
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def open_mapped(file: Path) -> NDArray[Any] | None:
    """Return a memory-mapped array, read-only; None if the file is missing or damaged."""
    if not file.is_file():  # a named pipe would be read for ever
        return None
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r")  # a writable map would count as used memory
    except Exception:  # a damaged header can raise anything: numpy takes the file for an archive or a pickle
        return None
    return array


def allocate(file: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Create an array and reserve its disk space: a full disk kills a process that writes to a mapped file."""
    file.unlink(missing_ok=True)  # left by a killed process
    if shutil.disk_usage(file.parent).free < math.prod(shape) * np.dtype(dtype).itemsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("rb+") as opened:
            try:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # the file system lacks the call
                    raise
