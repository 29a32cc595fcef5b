"""SHA-256 digests of many files, cached by path, size and modification time.

`<runtime.cache>/digests/<hash of the common folder>.json` maps each path to `[size, mtime in ns, digest]`.
"""

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
from crackdet.core.files import write_text
from crackdet.core.locks import lock_with_notice
from crackdet.core.reading import file_digest

log = logging.getLogger(__name__)

UNREADABLE = "unreadable:"


def file_digests(paths: Sequence[str], cache_dir: Path) -> dict[str, str]:
    """Return the digest of each file, given by its absolute path; only new and modified files are read.

    A file that cannot be opened gets `unreadable:<path>`. It is not cached, so the next call tries again.
    """
    if not paths:
        return {}
    # one cache file per common folder, so that an added image is the only one to be read
    folder = os.path.commonpath({os.path.dirname(path) for path in paths})  # noqa: PTH120  # strings: many paths
    cache_file = cache_dir / "digests" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"
    stamps = {path: _stamp(path) for path in paths}
    digests = _cached_digests(cache_file, stamps)
    if len(digests) < len(stamps):
        _add_missing(digests, stamps, cache_file, cache_dir)
    return digests


def is_unreadable(digest: str) -> bool:
    """Return whether a digest stands for a file that could not be opened."""
    return digest.startswith(UNREADABLE)


def _cached_digests(cache_file: Path, stamps: Mapping[str, list[int]]) -> dict[str, str]:
    rows = _read_cache(cache_file)
    return {path: rows[path][2] for path, stamp in stamps.items() if path in rows and rows[path][:2] == stamp}


def _add_missing(digests: dict[str, str], stamps: Mapping[str, list[int]], cache_file: Path, cache_dir: Path) -> None:
    """Read the missing files under a lock, and cache their digests even if the reading is interrupted."""
    with ExitStack() as stack:
        with suppress(OSError):  # the cache is not writable: _update_cache warns
            cache_file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock_with_notice(cache_file.with_suffix(".lock"), "another process reads these files"))
            digests |= _cached_digests(cache_file, stamps)  # that the other process has added
        cached = set(digests)
        try:
            _read_files(digests, [path for path in stamps if path not in cached])
        finally:
            added = {p: [*stamps[p], d] for p, d in digests.items() if p not in cached and not is_unreadable(d)}
            if added:
                _update_cache(cache_file, added, cache_dir)


def _update_cache(cache_file: Path, added: dict[str, list[Any]], cache_dir: Path) -> None:
    """Add rows to the cache file, and drop the rows of deleted files."""
    kept = {path: row for path, row in _read_cache(cache_file).items() if os.path.exists(path)}  # noqa: PTH110
    try:
        write_text(cache_file, json.dumps(kept | added))
    except OSError as error:
        log.warning("runtime.cache=%s: cannot be written (%s); every command reads all files again", cache_dir, error)


def _read_files(digests: dict[str, str], paths: Sequence[str]) -> None:
    pool = ThreadPoolExecutor()  # hashing releases the GIL
    try:
        with bar("reading files", len(paths), log_progress=True) as progress:
            for path, digest in zip(paths, pool.map(_digest, paths), strict=True):
                digests[path] = digest
                progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the remaining files


def _digest(path: str) -> str:
    try:
        return file_digest(Path(path))
    except OSError:
        return f"{UNREADABLE}{path}"


def _stamp(path: str) -> list[int]:
    """Return the size and modification time of a file; nothing for a broken link."""
    try:
        status = os.stat(path)  # noqa: PTH116  # creating a Path takes longer than this call
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _read_cache(cache_file: Path) -> Mapping[str, list[Any]]:
    try:
        status = cache_file.stat()
        return _parse_cache(cache_file, status.st_size, status.st_mtime_ns, status.st_ino)
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=1)  # every run of a sweep lists the same files
def _parse_cache(cache_file: Path, _size: int, _mtime_ns: int, _inode: int) -> Mapping[str, list[Any]]:
    content = json.loads(cache_file.read_bytes())
    rows = content.items() if isinstance(content, dict) else ()
    return {path: row for path, row in rows if isinstance(row, list) and list(map(type, row)) == [int, int, str]}
