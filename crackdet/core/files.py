"""Files that appear whole or not at all: written beside their place, flushed, renamed."""

import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crackdet.core.errors import WriteFailed

SIGNATURE = ',\n  "checksum": "'
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
SETTLED = 2.0  # seconds: what was changed later than so long before a look may change again without its time saying so


@contextmanager
def atomic_write(path: Path, size: int = 0) -> Iterator[Path]:
    """A neighbour to write, which takes the place of `path` when the block ends well and vanishes when not.

    `size` is about how many bytes will be written; it is for the message, where they do not fit.

    Raises:
        WriteFailed: where the file system refuses; whatever stood at `path` still stands there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        failure = _refusal(path, temporary, size, error)
        _discard(temporary)
        raise failure from error
    except BaseException as error:
        full = size > 0 and free_bytes(path.parent) < size  # torch and safetensors hide the system's error
        failure = _refusal(path, temporary, size, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        _discard(temporary)
        if full and isinstance(error, Exception):
            raise failure from error
        raise


def free_bytes(folder: Path) -> int:
    """What can still be written into a folder, or into the one it will be made in."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def write_text(path: Path, text: str) -> None:
    content = text.encode(errors="surrogateescape")  # names of files are bytes, whatever they should be
    with atomic_write(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_checksummed_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON object that ends with the SHA-256 of its own text as `checksum`."""
    text = json.dumps(content, indent=2, allow_nan=False).removesuffix("\n}")
    write_text(path, f'{text}{SIGNATURE}{hashlib.sha256(text.encode()).hexdigest()}"\n}}\n')


def read_checksummed_json(path: Path) -> dict[str, Any]:
    """What `write_checksummed_json` wrote, without the checksum; empty where the file is missing or was changed."""
    try:
        raw = path.read_bytes()
        text, _, checksum = raw.rpartition(SIGNATURE.encode())
        if hashlib.sha256(text).hexdigest().encode() != checksum[:64]:
            return {}
        content = json.loads(raw)
    except (OSError, ValueError, RecursionError):
        return {}
    del content["checksum"]
    return content  # type: ignore[no-any-return]  # an object, as the checksum says


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where the file is missing or damaged."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refusal(path: Path, temporary: Path, size: int, error: OSError) -> WriteFailed:
    reason = error.strerror or str(error)
    if error.errno not in NO_SPACE:
        return WriteFailed(f"{path}: cannot be written ({reason}); make {path.parent} a folder that can be written")
    written = temporary.stat().st_size if temporary.exists() else 0
    return WriteFailed(
        f"{path}: cannot be written ({reason}); {max(size, written) / 2**20:.1f} MiB are needed and "
        f"{free_bytes(path.parent) / 2**20:.1f} MiB are free; make room there and give the same command again"
    )


def _discard(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # on a folder that has become read-only
        return
