"""Check that the files of a finished run are the published ones.

`result.json` records size, modification time and SHA-256 of each of them, and ends with a checksum of its own text.
A truncated, overwritten or replaced file is detected and not trusted.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crackdet.core.errors import StoreError
from crackdet.core.files import file_digest, read_checksummed_json
from crackdet.store.paths import WEIGHTS, RunPaths

NUMBER = (int, float)
RESULT_FIELDS = {"accuracy": NUMBER, "loss": NUMBER, "epoch": (int,), "parameters": (int,), "seconds": NUMBER}


def read_result(run: RunPaths) -> dict[str, Any] | None:
    """Return the content of `result.json`; None if it is missing or invalid."""
    content = read_checksummed_json(run.result_file)
    has_types = all(type(content.get(name)) in types for name, types in RESULT_FIELDS.items())
    return content if has_types and content.get("id") == run.id else None


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
        return f"{run.result_file.name} is not valid" if run.result_file.exists() else None
    directory = str(run.directory)
    for name, size, mtime_ns, digest in map(str.split, result["files"]):
        path = f"{directory}/{name}"  # a string: this loop runs for each file of each run of a store
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            if name == WEIGHTS:
                continue  # weights may be deleted to free space; the result stays
            return f"{name} is missing"
        if status.st_size != int(size):
            return f"{name} has {status.st_size} bytes, not {size}"
        touched = status.st_mtime_ns != int(mtime_ns)
        try:
            if touched and (thorough or name != WEIGHTS) and file_digest(Path(path)) != digest:
                return f"{name} differs from the published file"
        except OSError as error:
            if thorough:
                raise StoreError(
                    f"{path}: cannot be read ({error.strerror}); make it readable, or remove the run: "
                    f"crackdet rm {run.id}"
                ) from None
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
    if not run.weights_file.exists() or published is None:
        raise StoreError(f"{run.weights_file}: has been removed; runtime.retrain=true trains the run again")
    return published


def verify_weights(run: RunPaths) -> Path:
    """Return the weights file of a finished run after comparing its digest with the published one.

    Raises:
        StoreError: If the file is missing or differs.
    """
    published = require_weights(run)
    if file_digest(run.weights_file) != published:
        raise StoreError(
            f"{run.weights_file}: is corrupt, its content differs from the published weights; "
            "the command that trained the run trains it again"
        )
    return run.weights_file


def file_record(path: Path) -> str:
    """Return name, size in bytes, modification time in nanoseconds and SHA-256, in one line."""
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns} {file_digest(path)}"
