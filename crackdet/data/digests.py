"""SHA-256 of many files, remembered: asking again costs a listing with sizes and times."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crackdet.console import bar
from crackdet.identity import file_digest
from crackdet.store import write_json


def file_digests(paths: Sequence[Path], cache: Path) -> dict[Path, str]:
    """The digest of each file; those whose size and time of change are known are not read again."""
    if not paths:
        return {}
    absolute = {path: str(path.absolute()) for path in paths}
    name = hashlib.sha256("\n".join(sorted(absolute.values())).encode()).hexdigest()[:16]
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
            for path, digest in zip(missing, pool.map(file_digest, missing), strict=True):
                digests[path] = digest
                progress.advance()
        write_json(memory, {absolute[path]: [*stamps[path], digests[path]] for path in paths})
    return digests


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(memory: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
