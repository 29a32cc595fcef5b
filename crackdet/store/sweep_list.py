"""The list of a store's sweeps: `.sweeps` in the store names their folders, the newest last.

The list only saves a search: a sweep belongs to a store if its own record says so.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from crackdet.core.reading import MIB, parse_json, read_bytes

FILE = ".sweeps"
MAX_BYTES = MIB


def add_sweep(store: Path, directory: Path) -> None:
    """Add the folder of a sweep, unless it is the newest one; do nothing if the store cannot be written."""
    line = json.dumps({"folder": os.path.relpath(directory.resolve(), store.resolve())}).encode() + b"\n"
    with suppress(OSError):  # of a read-only or full store, which is reported when runs are written
        store.mkdir(parents=True, exist_ok=True)
        if not _read(store).endswith(line):
            with open(store / FILE, "ab", opener=open_unlinked) as file:
                file.write(line)


def listed_sweeps(store: Path) -> Iterator[Path]:
    """Yield the folders of the list, the newest first, whether or not they exist."""
    for line in reversed(_read(store).splitlines()):
        with suppress(ValueError):  # half a line
            folder = parse_json(line).get("folder")
            if isinstance(folder, str) and "\0" not in folder:
                yield Path(os.path.normpath(store.resolve() / folder))


def _read(store: Path) -> bytes:
    try:
        return read_bytes(store / FILE, MAX_BYTES)
    except OSError:
        return b""


def open_unlinked(path: str, flags: int) -> int:
    """Open a file for writing in place, which must not be a link to a file elsewhere."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
