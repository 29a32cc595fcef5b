"""Stamps of files and folders: sizes and modification times, to notice a change without reading the content."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stamp:
    """Differs if a file, or any file in a folder, has changed."""

    text: str  # empty if the path is missing or cannot be read
    newest: float = 0.0  # the latest modification time, in seconds since the epoch


def stamp(path: str) -> Stamp:
    """Return the stamp of a file, or of all files below a folder."""
    digest, newest = hashlib.sha256(), 0
    try:
        if not Path(path).is_dir():
            status = Path(path).stat()
            return Stamp(f"{status.st_size}:{status.st_mtime_ns}", status.st_mtime)
        for name, size, time_ns in sorted(_listing(path, "", set())):
            if size >= 0:  # a folder's own time only tells that files came or went, which their names tell as well
                digest.update(f"{name}\0{size}\0{time_ns}\0".encode(errors="surrogateescape"))
            newest = max(newest, time_ns)
    except OSError:
        return Stamp("")
    return Stamp(digest.hexdigest()[:24], newest / 1e9)


def _listing(folder: str, prefix: str, linked: set[str]) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and modification time of each file, and of each folder with size -1, without `__pycache__`."""
    yield prefix, -1, Path(folder).stat().st_mtime_ns
    with os.scandir(folder) as entries:
        for entry in entries:
            exists = not entry.is_symlink() or Path(entry.path).exists()  # a dangling link counts as a file
            if exists and entry.is_dir():
                if entry.is_symlink():
                    if (target := os.path.realpath(entry.path)) in linked:  # links may form a circle
                        continue
                    linked.add(target)
                if entry.name != "__pycache__":
                    yield from _listing(entry.path, f"{prefix}{entry.name}/", linked)
            else:
                status = entry.stat(follow_symlinks=exists)
                yield f"{prefix}{entry.name}", status.st_size, status.st_mtime_ns
