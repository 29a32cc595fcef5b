"""Files of a run store that can be deleted without losing a result."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crackdet.core.errors import StoreError
from crackdet.store.run import AlreadyRunning, Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status


@dataclass(frozen=True)
class Removable:
    """A file that is no longer needed."""

    run: Run
    path: Path
    why: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def leftovers(store: RunStore, among: Collection[str] | None = None) -> Iterator[Removable]:
    """Yield the resume states of finished runs, and the temporary files of processes that died.

    Args:
        among: Ids of the runs whose files may be deleted; None means all.
    """
    for run in store.runs():
        if among is not None and run.id not in among:
            continue
        if (status := run.status()) is Status.RUNNING:
            continue
        if status is Status.FINISHED and run.state_file.exists():
            yield Removable(run, run.state_file, "resume state of a finished run")
        for path in run.directory.glob(".*.tmp"):
            yield Removable(run, path, "temporary file of a process that died")


def remove(items: Sequence[Removable]) -> list[Removable]:
    """Delete the files, except those of runs that another process or user holds; return those that were deleted."""
    removed = []
    for item in items:
        with suppress(AlreadyRunning, StoreError, PermissionError), item.run.claim():
            item.path.unlink(missing_ok=True)
            removed.append(item)
    return removed
