"""Atomic writes: each file is written under a temporary name, flushed to disk and renamed.

No write creates a folder. A missing folder has been moved or removed, and the write raises an error.
"""

import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crackdet.core.errors import FolderGone, StoreGone, WriteFailed

CHECKSUM_KEY = ',\n  "checksum": "'
SETTLE_SECONDS = 2.0  # a file that is younger may change again without a change of its times


_checks: dict[Path, Callable[[], None]] = {}  # by folder, see `checked_folder`


@contextmanager
def checked_folder(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before each write into a folder during a block; its errors prevent the write."""
    _checks[folder] = check
    try:
        yield
    finally:
        del _checks[folder]


def check_folder(folder: Path) -> None:
    """Call the check of a folder, if it has one."""
    if (check := _checks.get(folder)) is not None:
        check()


class OpenFolder:
    """A folder that is kept open, so that another folder in its place is noticed. A context manager."""

    def __init__(self, path: Path, setting: str = "runtime.store") -> None:
        self.path, self._setting = path, setting

    def __enter__(self) -> "OpenFolder":
        self._descriptor = None if os.name == "nt" else os.open(self.path, getattr(os, "O_PATH", os.O_RDONLY))
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def check(self) -> None:
        """Raise StoreGone if the path no longer leads to the folder."""
        if self._descriptor is not None and not leads_to(self.path, self._descriptor):
            raise store_gone(self.path, self._setting)


def store_gone(path: Path, setting: str = "runtime.store") -> StoreGone:
    """Return the error that says that a folder was moved or removed while it was in use, and what to do."""
    return StoreGone(
        f"{setting}={path}: the folder was moved, removed or replaced while it was in use; nothing was written in its "
        "place; move the folder back, or set its new path, and run the same command again"
    )


def leads_to(path: Path, descriptor: int) -> bool:
    """Return whether a path leads to the file or folder that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


@contextmanager
def atomic_write(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block succeeds and is deleted when it fails.

    Args:
        path: The file to write, in a folder that exists.
        size: About how many bytes will be written, for the message if the disk is full.

    Raises:
        FolderGone: If the folder has a check that fails (see `checked_folder`).
        WriteFailed: If the file system refuses; the file at `path` is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    check_folder(path.parent)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        check_folder(path.parent)  # another folder may have taken its place meanwhile
        temporary.replace(path)
    except BaseException as error:
        cause = error if isinstance(error, OSError) else None
        if cause is None and isinstance(error, Exception) and not isinstance(error, FolderGone):
            cause = _hidden_cause(temporary, size)
        failure = None if cause is None else write_error(path, cause, max(size, _size(temporary)))
        with suppress(OSError):  # the folder has become read-only
            temporary.unlink(missing_ok=True)
        if failure is None:
            raise
        check_folder(path.parent)  # names the folder that is gone
        raise failure from error


def free_bytes(folder: Path) -> int:
    """Return the free disk space for a folder, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


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


def expand_home(path: str | Path) -> Path:
    """Return a path with ~ replaced by the home folder; if that is unknown, unchanged, as in a shell."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises an error instead


def change_stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return size, modification time, change time and inode of a file, to notice a change without reading the file.

    Programs that unpack, copy or exchange files keep sizes and modification times, but not change times and inodes.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def write_error(path: Path, error: OSError, size: int = 0) -> WriteFailed:
    """Return the error that says why a file or folder cannot be written, and what to do.

    Args:
        path: The file or folder.
        error: The error of the operating system.
        size: How many bytes are needed.
    """
    needed = f"{size / 2**20:.1f} MiB are needed"
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and _has_no_inodes(path.parent):
        remedy = "the file system has no free inodes for new files; delete files"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        quota = " on the disk, but not within your quota" if error.errno == errno.EDQUOT else ""
        remedy = f"{needed} and {_free(path.parent)} are free{quota}; free some space"
    elif error.errno == errno.EFBIG:
        remedy = f"{needed}, which is above the largest file size allowed; raise ulimit -f, or use another file system"
    elif error.errno == errno.EROFS:
        return WriteFailed(f"{path}: cannot be written (the file system is read-only); give another folder")
    elif error.errno == errno.ENOENT:
        return WriteFailed(f"{path}: cannot be written ({_missing_folder(path)})")
    else:
        reason = error.strerror or str(error)
        return WriteFailed(f"{path}: cannot be written ({reason}); make {path.parent} a writable folder")
    return WriteFailed(f"{path}: cannot be written ({error.strerror}); {remedy} and run the same command again")


def _hidden_cause(temporary: Path, size: int) -> OSError | None:
    """Return the error of the operating system that torch and safetensors hide: that of reserving the space again."""
    try:
        with temporary.open("ab") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
    except OSError as error:
        unsupported = (errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)
        return None if error.errno in unsupported else error
    return None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _free(folder: Path) -> str:
    try:
        return f"{free_bytes(folder) / 2**20:.1f} MiB"
    except OSError:
        return "unknown"


def _existing(folder: Path) -> Path:
    """Return a folder, or the first of its parents that exists."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


def _has_no_inodes(folder: Path) -> bool:
    try:
        status = os.statvfs(_existing(folder))
    except (AttributeError, OSError):  # on Windows, or the folder is gone
        return False
    return status.f_files > 0 and status.f_favail == 0


def _missing_folder(path: Path) -> str:
    try:
        Path.cwd()
    except OSError:
        return "the current folder has been removed"
    return f"there is no folder {path.parent}"
