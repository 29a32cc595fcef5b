"""What searches that share a store have suggested and not yet seen the end of.

Between a suggestion and the beginning of its run nothing stands in the store: without a booking two searches would
make it twice, and exceed `n_trials` together. Each search keeps a file of the identities of its runs, beside a lock
that dies with it: what a dead search had booked is free again. Searches ask one at a time.
"""

import os
import platform
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import Timeout

from crackdet.core.errors import UserError
from crackdet.core.files import read_json, write_json
from crackdet.core.locks import is_held, lock
from crackdet.running.job import Job
from crackdet.store.run_store import RunStore

FOLDER = ".search"  # in the run store
PATIENCE = 600.0  # seconds: a search that decodes its images before its first suggestion may take a while


class Reservations:
    """The bookings of one search; used as a context, at whose end they are given up."""

    def __init__(self, store: RunStore) -> None:
        self._folder = store.root / FOLDER
        name = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._file, self._lock_file = self._folder / f"{name}.json", self._folder / f"{name}.lock"
        self._lock = lock(self._lock_file)
        self._jobs: dict[str, Job] = {}  # by run id

    def __enter__(self) -> "Reservations":
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)
        self._lock.release()
        self._lock_file.unlink(missing_ok=True)  # nobody else ever waits for it

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While no other search of this store asks; its bookings, and with them the count of trials, stay as they are.

        Raises:
            UserError: where another one does not come to an end.
        """
        try:
            with lock(self._folder / "asking").acquire(timeout=PATIENCE):
                yield
        except Timeout:
            raise UserError(
                f"{self._folder / 'asking'}: another search has asked for {PATIENCE / 60:.0f} minutes; is it stopped?"
            ) from None

    def add(self, jobs: Iterable[Job]) -> None:
        """Books runs; while asking."""
        self._jobs |= {job.run.id: job for job in jobs}
        self._write()

    def remove(self, jobs: Iterable[Job]) -> None:
        """Gives runs up that have ended, whatever became of them."""
        for job in jobs:
            self._jobs.pop(job.run.id, None)
        self._write()

    def of_others(self) -> list[Mapping[str, Any]]:
        """The identities of runs that other searches, which are still there, have booked."""
        found: list[Mapping[str, Any]] = []
        for path in self._folder.glob("*.json"):
            if path == self._file:
                continue
            if is_held(path.with_suffix(".lock")):
                found += read_json(path).get("identities", [])
            else:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
        return found

    def _write(self) -> None:
        write_json(self._file, {"identities": [job.identity.content for job in self._jobs.values()]})
