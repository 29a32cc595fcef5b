"""Listing and deletion of the cached arrays of decoded images; a deleted array is rebuilt if a run needs it."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from crackdet.core.errors import UserError
from crackdet.core.locks import lock
from crackdet.data.cache_index import index_file, open_array

DAY = 86400  # seconds


@dataclass(frozen=True)
class DecodedSet:
    """One array of decoded images, finished or left by a process that died."""

    file: Path
    images: int | None  # None: the file cannot be read
    image_size: int | None
    size: int  # bytes
    used: float  # seconds since the epoch

    @property
    def days_unused(self) -> float:
        return max(0.0, time.time() - self.used) / DAY


def list_decoded_sets(cache_dir: Path) -> list[DecodedSet]:
    """Return the arrays in a cache folder, the last used first."""
    folder = cache_dir / "pixels"
    sets = []
    for file in [*folder.glob("*.npy"), *folder.glob(".*.npy.tmp")]:
        with suppress(FileNotFoundError):  # just deleted
            sidecar = file.with_suffix(".json")
            used = max(path.stat().st_mtime for path in (file, sidecar) if path is file or path.exists())
            array = open_array(file)
            images, image_size = (None, None) if array is None else array.shape[:2]
            sets.append(DecodedSet(file, images, image_size, file.stat().st_size, used))
    return sorted(sets, key=lambda decoded: decoded.used, reverse=True)


def delete_decoded_sets(sets: Sequence[DecodedSet]) -> list[DecodedSet]:
    """Delete arrays and their sidecars, except those that a process is building, and return what was deleted.

    A process that has an array open can still read it.

    Raises:
        UserError: If files of another user cannot be deleted; all others are.
    """
    deleted, forbidden = [], []
    for decoded in sets:
        file = decoded.file
        name = file.name.removeprefix(".").partition(".")[0]
        try:
            with suppress(Timeout), lock(file.with_name(f"{name}.lock")).acquire(timeout=0):
                for path in (file, file.with_suffix(".json"), index_file(file)):
                    path.unlink(missing_ok=True)
                deleted.append(decoded)
        except PermissionError:
            forbidden.append(str(file))
    if forbidden:
        raise UserError(
            f"{', '.join(forbidden)}: cannot be deleted, for lack of permission; "
            f"{len(deleted)} of {len(sets)} sets were deleted"
        )
    return deleted
