"""`failure.json`: why a run has not finished, and how many attempts it has had."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from crackdet.core.files import write_json
from crackdet.core.reading import read_json
from crackdet.store.paths import RunPaths


class Failure(StrEnum):
    """The `kind` in `failure.json`."""

    DIED = "died"  # the process was killed; written before training and deleted after it
    ERROR = "error"
    FATAL = "fatal"  # deterministic, such as a NaN: not retried
    REFUSED = "refused"  # the user can fix the cause, such as missing weights
    PRUNED = "pruned"  # not a failure: a search stopped the run early


def read_failure(run: RunPaths) -> dict[str, Any]:
    """Return kind, reason and attempts; empty if the run has not failed, or the file is damaged."""
    content = read_json(run.failure_file)
    texts = all(isinstance(content.get(name, ""), str) for name in ("kind", "reason"))
    return content if texts and type(content.get("attempts", 0)) is int else {}


def num_attempts(failure: Mapping[str, Any]) -> int:
    """Return the number of attempts that the content of a `failure.json` counts."""
    attempts = failure.get("attempts", 0)
    return attempts if isinstance(attempts, int) else 0


def record_failure(run: RunPaths, kind: Failure, reason: str, attempts: int = 0, **details: str) -> None:
    """Write `failure.json`."""
    write_json(run.failure_file, {"kind": kind, "reason": reason, "attempts": attempts, **details})


def record_attempt(run: RunPaths) -> None:
    """Count an attempt before training starts, so that a process that dies leaves a record of it."""
    attempts = num_attempts(read_failure(run)) + 1
    record_failure(run, Failure.DIED, "its process died: killed, or out of memory", attempts)


def record_progress(run: RunPaths) -> None:
    """Forget earlier attempts once this one has got further than they did."""
    failure = read_failure(run)
    if num_attempts(failure) > 1:
        record_failure(run, Failure.DIED, str(failure.get("reason")), attempts=1)
