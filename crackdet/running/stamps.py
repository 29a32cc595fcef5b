"""Stamps of files and folders: sizes, times and inodes, to notice a change without reading the content."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crackdet.core.files import change_stamp


@dataclass(frozen=True)
class Stamp:
    """Differs if a file, or any file in a folder, has changed."""

    text: str  # empty if the path is missing or cannot be read
    newest: float = 0.0  # the latest time of a modification or change, in seconds since the epoch


def stamp(path: str) -> Stamp:
    """Return the stamp of a file, or of all files below a folder."""
    digest, newest = hashlib.sha256(), 0
    try:
        if not Path(path).is_dir():
            status = Path(path).stat()
            return Stamp(":".join(map(str, change_stamp(status))), max(status.st_mtime, status.st_ctime))
        for name, is_file, status in sorted(_listing(path, "", set()), key=lambda item: item[:2]):
            if is_file:  # the times of a folder change only if files are added or removed, which the names show
                digest.update(f"{name}\0{change_stamp(status)}\0".encode(errors="surrogateescape"))
            newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
    except OSError:
        return Stamp("")
    return Stamp(digest.hexdigest()[:24], newest / 1e9)


def _listing(folder: str, prefix: str, linked: set[str]) -> Iterator[tuple[str, bool, os.stat_result]]:
    """Yield name and status of each file and folder, without `__pycache__`, and whether it is a file."""
    yield prefix, False, Path(folder).stat()
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
                yield f"{prefix}{entry.name}", True, entry.stat(follow_symlinks=exists)
