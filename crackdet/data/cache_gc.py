"""The decoded images that the cache keeps, and how long nobody has used them: they can be made again at any time."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from crackdet.core.locks import lock
from crackdet.data.cache_index import open_array, rows_file

DAY = 86400  # seconds


@dataclass(frozen=True)
class DecodedSet:
    """One array of decoded images, or what a process that died has left of it."""

    file: Path
    images: int | None  # None: it cannot be read
    image_size: int | None
    size: int  # bytes
    used: float  # seconds of the epoch

    @property
    def days_unused(self) -> float:
        return max(0.0, time.time() - self.used) / DAY


def mark_used(notes: Path) -> None:
    """Says that a set of decoded images is of use still, by the time of its notes."""
    with suppress(OSError):  # of a cache that may only be read
        notes.touch()


def decoded_sets(cache: Path) -> list[DecodedSet]:
    """Those in a cache folder, the one that was used last first."""
    folder = cache / "pixels"
    found = []
    for file in [*folder.glob("*.npy"), *folder.glob(".*.npy.tmp")]:
        with suppress(FileNotFoundError):  # deleted meanwhile
            notes = file.with_suffix(".json")
            newest = max(path.stat().st_mtime for path in (file, notes) if path is file or path.exists())
            found.append(DecodedSet(file, *_shape(file), file.stat().st_size, newest))
    return sorted(found, key=lambda one: one.used, reverse=True)


def delete(sets: Sequence[DecodedSet]) -> list[DecodedSet]:
    """Deletes arrays and their notes, but none that a process is building; gives those that it deleted.

    Who has one open already goes on with it.
    """
    deleted = []
    for one in sets:
        name = one.file.name.removeprefix(".").partition(".")[0]
        try:
            with lock(one.file.with_name(f"{name}.lock")).acquire(timeout=0):
                for path in (one.file, one.file.with_suffix(".json"), rows_file(one.file)):
                    path.unlink(missing_ok=True)
                deleted.append(one)
        except Timeout:
            continue
    return deleted


def _shape(file: Path) -> tuple[int | None, int | None]:
    """How many images an array has, and how many pixels a side."""
    array = open_array(file)
    return (None, None) if array is None else (len(array), array.shape[1])
