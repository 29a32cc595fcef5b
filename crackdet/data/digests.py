"""SHA-256 of many files, remembered: asking again costs a listing with sizes and times."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crackdet.console import bar
from crackdet.files import file_digest, write_json

log = logging.getLogger(__name__)

UNREADABLE = "unreadable:"


def file_digests(paths: Sequence[Path], cache: Path) -> dict[Path, str]:
    """The digest of each file; those whose size and time of change are known are not read again.

    A file that cannot be opened gets `unreadable:<path>`, which is not remembered: opening it may work next time.
    """
    if not paths:
        return {}
    absolute = {path: str(path.absolute()) for path in paths}
    name = hashlib.sha256(os.fsencode("\n".join(sorted(absolute.values())))).hexdigest()[:16]
    memory = cache / "digests" / f"{name}.json"
    known = _read(memory)
    stamps = {path: _stamp(path) for path in paths}
    digests = {
        path: known[absolute[path]][2]
        for path in paths
        if absolute[path] in known and known[absolute[path]][:2] == stamps[path]
    }
    missing = [path for path in paths if path not in digests]
    if missing:
        with bar("reading files", len(missing)) as progress, ThreadPoolExecutor() as pool:  # hashing frees the GIL
            for path, digest in zip(missing, pool.map(_digest, missing), strict=True):
                digests[path] = digest
                progress.advance()
        lasting = [path for path in paths if not is_unreadable(digests[path])]
        try:
            write_json(memory, {absolute[path]: [*stamps[path], digests[path]] for path in lasting})
        except OSError as error:
            log.warning("runtime.cache=%s: cannot be written (%s); files are read anew each time", cache, error)
    return digests


def is_unreadable(digest: str) -> bool:
    """Whether it stands for a file that could not be opened."""
    return digest.startswith(UNREADABLE)


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return f"{UNREADABLE}{path}"


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:  # a link to nowhere
        return []
    return [status.st_size, status.st_mtime_ns]


def _read(memory: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 3}
