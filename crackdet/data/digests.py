"""SHA-256 of many files, remembered: asking again costs a listing with sizes and times."""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from crackdet.core.console import bar
from crackdet.core.files import file_digest, write_text
from crackdet.core.locks import lock_with_notice

log = logging.getLogger(__name__)

FOLDER = "digests"  # of the cache
UNREADABLE = "unreadable:"


def file_digests(paths: Sequence[str], cache: Path) -> dict[str, str]:
    """The digest of each file, given by its absolute path; those of known size and time of change are not read again.

    A file that cannot be opened gets `unreadable:<path>`, which is not remembered: opening it may work next time.
    """
    if not paths:
        return {}
    # one memory for all that is asked of a folder, so that one file more is one to read
    place = os.path.commonpath({os.path.dirname(path) for path in paths})  # noqa: PTH120  # text, of many
    memory = cache / FOLDER / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}.json"
    stamps = {path: _stamp(path) for path in paths}
    digests = _known(memory, stamps)
    if len(digests) < len(stamps):
        _read_missing(digests, stamps, memory, cache)
    return digests


def is_unreadable(digest: str) -> bool:
    """Whether it stands for a file that could not be opened."""
    return digest.startswith(UNREADABLE)


def _known(memory: Path, stamps: Mapping[str, list[int]]) -> dict[str, str]:
    known = _remembered(memory)
    return {path: known[path][2] for path, stamp in stamps.items() if path in known and known[path][:2] == stamp}


def _read_missing(digests: dict[str, str], stamps: Mapping[str, list[int]], memory: Path, cache: Path) -> None:
    """Adds what is not known, and remembers it, also where it is stopped half-way; one process reads for all."""
    with ExitStack() as held:
        with suppress(OSError):  # of a cache that cannot be written, which is said below
            memory.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock_with_notice(memory.with_suffix(".lock"), "another process reads these files"))
            digests |= _known(memory, stamps)  # by that other
        known = set(digests)
        try:
            _read(digests, [path for path in stamps if path not in known])
        finally:
            found = {p: [*stamps[p], d] for p, d in digests.items() if p not in known and not is_unreadable(d)}
            if found:
                _remember(memory, found, cache)


def _remember(memory: Path, found: dict[str, list[Any]], cache: Path) -> None:
    others = {path: entry for path, entry in _remembered(memory).items() if os.path.exists(path)}  # noqa: PTH110  # text
    try:
        write_text(memory, json.dumps(others | found))
    except OSError as error:
        log.warning("runtime.cache=%s: cannot be written (%s); files are read anew each time", cache, error)


def _read(digests: dict[str, str], missing: Sequence[str]) -> None:
    pool = ThreadPoolExecutor()  # hashing frees the GIL
    try:
        with bar("reading files", len(missing), told=True) as progress:
            for path, digest in zip(missing, pool.map(_digest, missing), strict=True):
                digests[path] = digest
                progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)  # who stops it does not want to wait for the rest


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


def _remembered(memory: Path) -> Mapping[str, list[Any]]:
    try:
        status = memory.stat()
        return _parsed(memory, status.st_size, status.st_mtime_ns, status.st_ino)
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=1)  # a sweep asks for each of its runs
def _parsed(memory: Path, _size: int, _changed: int, _inode: int) -> Mapping[str, list[Any]]:
    content = json.loads(memory.read_bytes())
    entries = content.items() if isinstance(content, dict) else ()
    return {
        path: entry
        for path, entry in entries
        if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], str)
    }
