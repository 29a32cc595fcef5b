"""Files of a run store that can be deleted without losing a result."""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crackdet.core.errors import StoreError
from crackdet.store.run import AlreadyRunning, Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removable:
    """A file that is no longer needed."""

    run: Run
    path: Path
    why: str

    @property
    def size(self) -> int:
        try:
            return self.path.lstat().st_size
        except OSError:
            return 0


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
        if status is Status.FINISHED and run.state_file.is_file():
            yield Removable(run, run.state_file, "resume state of a finished run")
        for path in run.directory.glob(".*.tmp"):
            if path.is_symlink() or not path.is_dir():
                yield Removable(run, path, "temporary file of a process that died")


def remove(items: Sequence[Removable]) -> list[Removable]:
    """Delete the files and return those that were deleted; log why others were not, such as those of another user."""
    removed, problems = [], []
    for item in items:
        try:
            with item.run.claim():
                item.path.unlink(missing_ok=True)
            removed.append(item)
        except AlreadyRunning:
            log.info("%s: is being trained; its files are not deleted", item.run.id)
        except StoreError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{item.path}: cannot be deleted ({error.strerror})")
    for problem in dict.fromkeys(problems):  # several files of a run may have the same
        log.warning("%s", problem)
    return removed
