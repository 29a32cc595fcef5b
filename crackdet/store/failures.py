"""`failure.json`: why a run has not finished, and how many attempts it has had.

An attempt whose process dies cannot record this. Therefore, each attempt is recorded as having died before it trains,
and writes its present batch to the file `attempt`. Consecutive attempts that die count if they die at the same
batch. A process that was killed at different batches, or before its first batch, was only interrupted.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

from crackdet.core.errors import FolderGone, WriteFailed
from crackdet.core.files import check_folder, write_json
from crackdet.core.reading import read_json
from crackdet.store.paths import RunPaths

START = "the start"  # of an attempt, before its first batch: nothing of the run has been computed
POINT_BYTES = 60  # the file is overwritten in place, so all its contents have the same length


class Failure(StrEnum):
    """The `kind` in `failure.json`."""

    DIED = "died"  # the process was killed; written before training and deleted after it
    ERROR = "error"
    FATAL = "fatal"  # deterministic, such as a NaN: not retried
    REFUSED = "refused"  # the user can fix the cause, such as missing weights
    PRUNED = "pruned"  # not a failure: a search stopped the run early


def read_failure(run: RunPaths) -> dict[str, Any]:
    """Return kind, reason, attempts and the point at which the attempts ended; empty if the run has not failed.

    A damaged file counts as none.
    """
    failure = read_json(run.failure_file)
    texts = all(isinstance(failure.get(name, ""), str) for name in ("kind", "reason"))
    if not texts or type(failure.get("attempts", 0)) is not int:
        return {}
    if failure.get("kind") == Failure.DIED:
        point = _read_point(run)
        failure["attempts"] = _count(failure, point)
        failure["reason"] = f"its process died{f' at {point}' if point else ''}: killed, or out of memory"
        if point == START:
            failure["attempts"] = max(failure["attempts"] - 1, 0)
        else:
            failure["point"] = point
    return failure


def num_attempts(failure: Mapping[str, Any]) -> int:
    """Return the number of attempts that the content of a `failure.json` counts."""
    attempts = failure.get("attempts", 0)
    return attempts if isinstance(attempts, int) else 0


def record_failure(run: RunPaths, kind: Failure, reason: str, attempts: int = 0, **details: Any) -> None:
    """Write `failure.json`."""
    write_json(run.failure_file, {"kind": kind, "reason": reason, "attempts": attempts, **details})


def record_attempt(run: RunPaths) -> None:
    """Count an attempt before training starts, so that a process that dies leaves a record of it."""
    before = read_failure(run)
    attempts = num_attempts(before) + 1
    record_failure(run, Failure.DIED, "its process died", attempts, point=before.get("point"))
    with suppress(OSError):
        run.attempt_file.unlink(missing_ok=True)  # a link would be followed


def record_progress(run: RunPaths) -> None:
    """Forget earlier attempts once this one has got further than they did."""
    failure = read_json(run.failure_file)
    if num_attempts(failure) > 1:
        record_failure(run, Failure.DIED, "its process died", attempts=1)


def forget_attempts(run: RunPaths) -> None:
    """Delete the record of a claimed run, for an attempt that does not count: it was stopped, or the disk is full.

    Deleting needs no disk space.
    """
    check_folder(run.directory)
    for path in (run.failure_file, run.attempt_file):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def record_error(run: RunPaths, kind: Failure, reason: str, **details: Any) -> None:
    """Record how the present attempt ended. `REFUSED` does not count as an attempt.

    If the disk is full, the record is deleted; if the run directory is gone, nothing is written.
    """
    point, failure = _read_point(run), read_json(run.failure_file)
    attempts = _count(failure, point)
    if kind is Failure.REFUSED:
        attempts = max(attempts - 1, 0)
    with suppress(FolderGone):
        try:
            record_failure(run, kind, reason, attempts, point=point, **details)
        except WriteFailed:
            forget_attempts(run)


class AttemptPoint:
    """Notes where an attempt is, by overwriting a few bytes: cheap enough for every batch. A context manager."""

    def __init__(self, run: RunPaths) -> None:
        self._path = run.attempt_file

    def __enter__(self) -> "AttemptPoint":
        self._file = None
        with suppress(OSError):  # without the note, attempts that die all count
            self._file = self._path.open("wb", buffering=0)
        self.set(START)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def set(self, text: str) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.seek(0)
                self._file.write(_content(text))


def _content(point: str) -> bytes:
    return json.dumps({"point": point}).ljust(POINT_BYTES).encode()


def _read_point(run: RunPaths) -> str | None:
    point = read_json(run.attempt_file).get("point")
    return point if isinstance(point, str) else None


def _count(failure: Mapping[str, Any], point: str | None) -> int:
    """Return the number of attempts that have ended at this point, one after another."""
    attempts = num_attempts(failure)
    return attempts if attempts <= 1 or point in (START, failure.get("point")) else 1
