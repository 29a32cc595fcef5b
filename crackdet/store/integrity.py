"""Check that the files of a finished run are the published ones.

`result.json` records size, modification time and SHA-256 of each of them, and ends with a checksum of its own text.
A truncated, overwritten or replaced file is detected and not trusted.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crackdet.core.errors import StoreError
from crackdet.core.reading import MAX_CSV, file_digest, load_checksummed_json
from crackdet.store.paths import FILES, MAY_BE_LINKS, WEIGHTS, RunPaths
from crackdet.store.result import find_problem


def read_result(run: RunPaths) -> dict[str, Any] | None:
    """Return the content of `result.json`; None if it is missing or invalid."""
    try:
        return _load_result(run)
    except (OSError, ValueError):
        return None


def find_corruption(run: RunPaths, result: Mapping[str, Any] | None, thorough: bool = False) -> str | None:
    """Describe the first published file that has changed; None if there is none, or nothing was published.

    A file with its recorded size and modification time counts as unchanged. Of any other file the digest is compared,
    except that of the weights: they may be large, and are verified when they are loaded.

    Args:
        result: The `read_result` of the run.
        thorough: Also compare the digest of the weights.

    Raises:
        StoreError: If `thorough` and a file cannot be read: an unreadable file is not necessarily corrupt.
    """
    if result is None:
        return _find_invalid(run, thorough)
    directory = str(run.directory)
    for name, size, mtime_ns, digest in map(str.split, result["files"]):
        path = f"{directory}/{name}"  # a string: this loop runs for each file of each run of a store
        try:
            status = os.lstat(path) if name not in MAY_BE_LINKS else os.stat(path)  # noqa: PTH116
        except OSError:
            if name == WEIGHTS:
                continue  # weights may be deleted to free space; the result stays
            return f"{name} is missing"
        if (odd := _describe_kind(status.st_mode)) is not None:
            return f"{name} {odd}"
        if status.st_size != int(size) or (name != WEIGHTS and status.st_size > MAX_CSV):
            return f"{name} has {status.st_size} bytes, not {min(int(size), MAX_CSV)}"
        touched = status.st_mtime_ns != int(mtime_ns)
        try:
            if touched and (thorough or name != WEIGHTS) and file_digest(Path(path)) != digest:
                return f"{name} differs from the published file"
        except OSError as error:
            if thorough:
                raise _unreadable(run, path, error) from None
            return f"{name} cannot be read ({error.strerror})"
    return None


def weights_digest(run: RunPaths) -> str | None:
    """Return the SHA-256 of the published weights, which may have been deleted since; None if nothing was published."""
    records = [record.split() for record in (read_result(run) or {}).get("files", [])]
    return next((digest for name, _, _, digest in records if name == WEIGHTS), None)


def require_weights(run: RunPaths) -> str:
    """Return the published digest of the weights.

    Raises:
        StoreError: If the weights are missing.
    """
    published = weights_digest(run)
    if published is None or not os.path.lexists(run.weights_file):
        raise StoreError(f"{run.weights_file}: has been removed; runtime.retrain=true trains the run again")
    return published


def verify_weights(run: RunPaths) -> Path:
    """Return the weights file of a finished run after comparing its digest with the published one.

    Raises:
        StoreError: If the file is missing or differs.
    """
    published = require_weights(run)
    try:
        matches = file_digest(run.weights_file) == published
    except OSError as error:
        raise StoreError(f"{run.weights_file}: cannot be read ({error.strerror})") from None
    if not matches:
        raise StoreError(
            f"{run.weights_file}: is corrupt, its content differs from the published weights; "
            "the command that trained the run trains it again"
        )
    return run.weights_file


def file_record(path: Path) -> str:
    """Return name, size in bytes, modification time in nanoseconds and SHA-256, in one line."""
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns} {file_digest(path)}"


def _find_invalid(run: RunPaths, thorough: bool) -> str | None:
    """Describe why there is no valid result: the result itself, or a file that is no regular file."""
    try:
        _load_result(run)
    except FileNotFoundError:
        pass
    except PermissionError as error:
        if thorough:
            raise _unreadable(run, str(run.result_file), error) from None
        return f"result.json cannot be read ({error.strerror})"
    except OSError as error:
        return f"result.json {error.strerror}"
    except ValueError as error:
        return f"result.json is not valid: {error}"
    for name in FILES:
        try:
            path = run.directory / name
            status = path.stat() if name in MAY_BE_LINKS else path.lstat()
        except OSError:
            continue
        if (odd := _describe_kind(status.st_mode)) is not None:
            return f"{name} {odd}"
    return None


def _describe_kind(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return "is a symbolic link" if stat.S_ISLNK(mode) else "is a folder" if stat.S_ISDIR(mode) else "is no regular file"


def _unreadable(run: RunPaths, path: str, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: cannot be read ({error.strerror}); make it readable, or remove the run: crackdet rm {run.id}"
    )


def _load_result(run: RunPaths) -> dict[str, Any]:
    content = load_checksummed_json(run.result_file)
    if (problem := find_problem(content)) is not None:
        raise ValueError(problem)
    if content["id"] != run.id:
        raise ValueError(f"it is the result of {content['id']}")
    return content
