"""SHA-256 digests of many files, cached by path, size, times and inode.

`<runtime.cache>/digests/<hash of the folder>.json` maps each path to `[size, modification time, change time,
inode, digest]`, with times in nanoseconds. If the file belongs to another user and cannot be written, the rows of this
user are in `<hash>.<user id>.json`.
"""

import functools
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from crackdet.core.files import SETTLE_SECONDS, change_stamp, write_text
from crackdet.core.locks import lock_with_notice
from crackdet.core.machine import user_id
from crackdet.core.reading import file_digest
from crackdet.core.threads import thread_map
from crackdet.data.bit_depth import DEEP_MARK, is_deep_file

log = logging.getLogger(__name__)

UNREADABLE = "unreadable:"
ROW = [int, int, int, int, str]  # the types of a stamp and a digest

Stamp = list[int]

_unwritten: dict[str, list[Any]] = {}  # rows for the rest of this process, if no cache file can be written


def file_digests(paths: Sequence[str], folder: Path, cache_dir: Path, reread: bool = False) -> dict[str, str]:
    """Return the digest of each file; only new and modified files are read.

    A path that is no file, or cannot be opened, gets `unreadable:<path>`. It is not cached, so the next call tries
    again. Neither is a file that was changed within `SETTLE_SECONDS`: it may change again without another stamp. The
    digest of an image with more than 8 bits per sample ends with a mark, since its pixels depend on a rule, too.

    Args:
        paths: Absolute paths.
        folder: The folder of the files; each has its own cache file.
        reread: The cached digests of these files are known to be wrong.
    """
    cache_file = cache_dir / "digests" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"
    cache_files = [cache_file, cache_file.with_suffix(f".{user_id()}.json")]
    now = time.time()
    stamps = {path: _stamp(path) for path in paths}
    digests = {} if reread else _cached_digests(cache_files, stamps)
    if len(digests) < len(stamps):
        with ExitStack() as stack:
            with suppress(OSError):  # the cache is not writable, or the lock belongs to another user
                cache_file.parent.mkdir(parents=True, exist_ok=True)
                notice = "another process reads these files"
                stack.enter_context(lock_with_notice(cache_file.with_suffix(".lock"), notice))
                if not reread:
                    digests = _cached_digests(cache_files, stamps)  # with those that the other process has added
            _add_missing(digests, stamps, cache_files, now)
    return digests


def is_unreadable(digest: str) -> bool:
    """Return whether a digest stands for a file that could not be opened."""
    return digest.startswith(UNREADABLE)


def _cached_digests(cache_files: Sequence[Path], stamps: Mapping[str, Stamp]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for rows in (*map(_read_cache, cache_files), _unwritten):
        digests |= {path: rows[path][-1] for path, stamp in stamps.items() if path in rows and rows[path][:-1] == stamp}
    return digests


def _add_missing(digests: dict[str, str], stamps: Mapping[str, Stamp], cache_files: Sequence[Path], now: float) -> None:
    """Read the missing files, and cache their digests even if the reading is interrupted."""
    cached = set(digests)
    missing = [path for path in stamps if path not in cached]
    try:
        _read_files(digests, missing, stamps)
    finally:
        added = {path: [*stamps[path], digests[path]] for path in missing if _is_cacheable(path, digests, stamps, now)}
        if added:
            _update_cache(cache_files, missing, added)


def _is_cacheable(path: str, digests: Mapping[str, str], stamps: Mapping[str, Stamp], now: float) -> bool:
    """Return whether a file was read, and a change after its stamp was taken would give another stamp."""
    if path not in digests or is_unreadable(digests[path]):
        return False
    _size, modified, changed, _inode = stamps[path]
    return all(abs(now - time_ns / 1e9) > SETTLE_SECONDS for time_ns in (modified, changed))


def _update_cache(cache_files: Sequence[Path], read: Sequence[str], added: dict[str, list[Any]]) -> None:
    """Add rows to the first cache file that can be written, and drop the rows of deleted and changed files."""
    outdated = set(read)
    for cache_file in cache_files:
        rows = _read_cache(cache_file)
        kept = {path: row for path, row in rows.items() if path not in outdated and os.path.exists(path)}  # noqa: PTH110
        try:
            write_text(cache_file, json.dumps(kept | added))
            return
        except OSError as error:
            reason = str(error)
    _unwritten.update(added)
    cache_dir = cache_files[0].parents[1]
    log.warning("runtime.cache=%s: every command reads all files again, because %s", cache_dir, reason)


def _read_files(digests: dict[str, str], paths: Sequence[str], stamps: Mapping[str, Stamp]) -> None:
    def read(path: str) -> None:
        digests[path] = _digest(path, stamps[path])  # what is read before an interrupt is kept

    thread_map("reading files", read, paths)


def _digest(path: str, stamp: Stamp) -> str:
    try:
        if not stamp:
            return f"{UNREADABLE}{path}"
        return file_digest(Path(path)) + (DEEP_MARK if is_deep_file(Path(path)) else "")
    except OSError:
        return f"{UNREADABLE}{path}"


def _stamp(path: str) -> Stamp:
    """Return the stamp of a file; nothing for a broken link, a folder, or a pipe, which would be read without end."""
    try:
        status = os.stat(path)  # noqa: PTH116  # creating a Path takes longer than this call
    except OSError:
        return []
    return list(change_stamp(status)) if stat.S_ISREG(status.st_mode) else []


def _read_cache(cache_file: Path) -> Mapping[str, list[Any]]:
    try:
        status = cache_file.stat()
        return _parse_cache(cache_file, change_stamp(status)) if stat.S_ISREG(status.st_mode) else {}
    except (OSError, ValueError, RecursionError):
        return {}


@functools.lru_cache(maxsize=2)  # every run of a sweep lists the same files
def _parse_cache(cache_file: Path, _stamp: tuple[int, ...]) -> Mapping[str, list[Any]]:
    content = json.loads(cache_file.read_bytes())
    rows = content.items() if isinstance(content, dict) else ()
    return {path: row for path, row in rows if isinstance(row, list) and list(map(type, row)) == ROW}
