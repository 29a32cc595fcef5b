"""Atomic writes: each file is written under a temporary name, flushed to disk and renamed."""

import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crackdet.core.errors import WriteFailed

CHECKSUM_KEY = ',\n  "checksum": "'
SETTLE_SECONDS = 2.0  # a file that is younger may change again without a change of its modification time


@contextmanager
def atomic_write(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block succeeds and is deleted when it fails.

    Args:
        path: The file to write; its folder is created.
        size: About how many bytes will be written, for the message if the disk is full.

    Raises:
        WriteFailed: If the file system refuses; the file at `path` is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        failure = None
        if isinstance(error, OSError):
            failure = _write_error(path, temporary, size, error)
        elif isinstance(error, Exception) and free_bytes(path.parent) < size:  # torch hides the error of the system
            failure = _write_error(path, temporary, size, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with suppress(OSError):  # the folder has become read-only
            temporary.unlink(missing_ok=True)
        if failure is not None:
            raise failure from error
        raise


def free_bytes(folder: Path) -> int:
    """Return the free disk space for a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def write_text(path: Path, text: str) -> None:
    content = text.encode(errors="surrogateescape")  # file names may be any bytes
    with atomic_write(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_checksummed_json(path: Path, content: Mapping[str, Any], indent: int | None = 2) -> None:
    """Write a JSON object whose last key, `checksum`, is the SHA-256 of the text before it."""
    text = json.dumps(content, indent=indent, allow_nan=False).removesuffix("}").rstrip()
    write_text(path, f'{text}{CHECKSUM_KEY}{hashlib.sha256(text.encode()).hexdigest()}"\n}}\n')


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_error(path: Path, temporary: Path, size: int, error: OSError) -> WriteFailed:
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return WriteFailed(f"{path}: cannot be written ({reason}); make {path.parent} a writable folder")
    written = temporary.stat().st_size if temporary.exists() else 0
    return WriteFailed(
        f"{path}: cannot be written ({reason}); {max(size, written) / 2**20:.1f} MiB are needed and "
        f"{free_bytes(path.parent) / 2**20:.1f} MiB are free; free some space and run the same command again"
    )
