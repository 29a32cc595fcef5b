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


def file_digests(paths: Sequence[str], cache: Path) -> dict[str, str]:
    """The digest of each file, given by its absolute path; those of known size and time of change are not read again.

    A file that cannot be opened gets `unreadable:<path>`, which is not remembered: opening it may work next time.
    """
    if not paths:
        return {}
    name = hashlib.sha256(os.fsencode("\n".join(sorted(paths)))).hexdigest()[:16]
    memory = cache / "digests" / f"{name}.json"
    known = _read(memory)
    stamps = {path: _stamp(path) for path in paths}
    digests = {path: known[path][2] for path in paths if path in known and known[path][:2] == stamps[path]}
    missing = [path for path in paths if path not in digests]
    if missing:
        with bar("reading files", len(missing)) as progress, ThreadPoolExecutor() as pool:  # hashing frees the GIL
            for path, digest in zip(missing, pool.map(_digest, missing), strict=True):
                digests[path] = digest
                progress.advance()
        lasting = [path for path in paths if not is_unreadable(digests[path])]
        try:
            write_json(memory, {path: [*stamps[path], digests[path]] for path in lasting})
        except OSError as error:
            log.warning("runtime.cache=%s: cannot be written (%s); files are read anew each time", cache, error)
    return digests


def is_unreadable(digest: str) -> bool:
    """Whether it stands for a file that could not be opened."""
    return digest.startswith(UNREADABLE)


def _digest(path: str) -> str:
    try:
        return file_digest(Path(path))
    except OSError:
        return f"{UNREADABLE}{path}"


def _stamp(path: str) -> list[int]:
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path for each of many files costs more than to look at it
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
