"""Listing and deletion of cached arrays, of decoded images and of features; a deleted array is rebuilt if needed."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from crackdet.core.errors import UserError
from crackdet.core.locks import lock
from crackdet.data.cache_index import index_file, open_array
from crackdet.data.feature_cache import open_features

DAY = 86400  # seconds


@dataclass(frozen=True)
class CachedSet:
    """One array, finished or left by a process that died."""

    file: Path
    images: int | None  # None: the file cannot be read
    image_size: int | None  # of decoded images, pixels a side
    dimension: int | None  # of features
    size: int  # bytes
    used: float  # seconds since the epoch

    @property
    def days_unused(self) -> float:
        return max(0.0, time.time() - self.used) / DAY


def list_cached_sets(cache_dir: Path) -> list[CachedSet]:
    """Return the arrays in a cache folder, the last used first."""
    sets = []
    for kind in ("pixels", "features"):
        for file in [*(cache_dir / kind).glob("*.npy"), *(cache_dir / kind).glob(".*.npy.tmp")]:
            with suppress(FileNotFoundError):  # just deleted
                sidecar = file.with_suffix(".json")
                used = max(path.stat().st_mtime for path in (file, sidecar) if path is file or path.exists())
                array = open_array(file) if kind == "pixels" else open_features(file)
                images, width = (None, None) if array is None else array.shape[:2]
                image_size, dimension = (width, None) if kind == "pixels" else (None, width)
                sets.append(CachedSet(file, images, image_size, dimension, file.stat().st_size, used))
    return sorted(sets, key=lambda cached: cached.used, reverse=True)


def delete_cached_sets(sets: Sequence[CachedSet]) -> list[CachedSet]:
    """Delete arrays and their sidecars, except those that a process is building, and return what was deleted.

    A process that has an array open can still read it.

    Raises:
        UserError: If files of another user cannot be deleted; all others are.
    """
    deleted, forbidden = [], []
    for cached in sets:
        file = cached.file
        name = file.name.removeprefix(".").partition(".")[0]
        try:
            with suppress(Timeout), lock(file.with_name(f"{name}.lock")).acquire(timeout=0):
                for path in (file, file.with_suffix(".json"), index_file(file)):
                    path.unlink(missing_ok=True)
                deleted.append(cached)
        except PermissionError:
            forbidden.append(str(file))
    if forbidden:
        raise UserError(
            f"{', '.join(forbidden)}: cannot be deleted, for lack of permission; "
            f"{len(deleted)} of {len(sets)} sets were deleted"
        )
    return deleted
