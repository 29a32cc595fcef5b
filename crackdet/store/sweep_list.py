"""The list of a store's sweeps: `.sweeps` in the store names their folders, the newest last.

The list only saves a search: a sweep belongs to a store if its own record says so.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FILE = ".sweeps"
MAX_SIZE = 2**20  # bytes that are read


def add_sweep(store: Path, directory: Path) -> None:
    """Add the folder of a sweep, unless it is the newest one; do nothing if the store cannot be written."""
    line = json.dumps(os.path.relpath(directory.resolve(), store.resolve())).encode() + b"\n"
    with suppress(OSError):  # of a read-only or full store, which is reported when runs are written
        store.mkdir(parents=True, exist_ok=True)
        if not _read(store).endswith(line):
            with (store / FILE).open("ab") as file:
                file.write(line)


def listed_sweeps(store: Path) -> Iterator[Path]:
    """Yield the folders of the list, the newest first, whether or not they exist."""
    for line in reversed(_read(store).splitlines()):
        with suppress(ValueError):  # half a line
            text = json.loads(line)
            if isinstance(text, str) and "\0" not in text:
                yield Path(os.path.normpath(store.resolve() / text))


def _read(store: Path) -> bytes:
    path = store / FILE
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - MAX_SIZE, 0))
                return file.read(MAX_SIZE)
    return b""
