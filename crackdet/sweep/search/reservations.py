"""The runs that searches of one store have suggested and that have not ended.

Between a suggestion and the start of its run the store has no trace of it. Without reservations two searches could
suggest the same run and together exceed `n_trials`. Each search writes the identities of its runs to a file, beside a
lock that dies with the process, so the reservations of a dead search are void. Searches ask one at a time.
"""

import os
import platform
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import Timeout

from crackdet.core.errors import UserError
from crackdet.core.files import write_json
from crackdet.core.locks import is_held, lock
from crackdet.core.reading import read_json
from crackdet.running.job import Job
from crackdet.store.run_store import RunStore

FOLDER = ".search"  # in the run store
TIMEOUT = 600.0  # seconds: a search may decode its images before its first suggestion


class Reservations:
    """The reservations of one search; a context manager that gives them up."""

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
        self._lock_file.unlink(missing_ok=True)  # no other process waits for it

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Keep other searches of this store from asking, and so from changing the number of trials.

        Raises:
            UserError: If another search asks for too long.
        """
        try:
            with lock(self._folder / "asking").acquire(timeout=TIMEOUT):
                yield
        except Timeout:
            raise UserError(
                f"{self._folder / 'asking'}: another search has been asking for {TIMEOUT / 60:.0f} minutes; "
                "is its process suspended?"
            ) from None

    def add(self, jobs: Iterable[Job]) -> None:
        """Reserve runs; call while asking."""
        self._jobs |= {job.run.id: job for job in jobs}
        self._write()

    def remove(self, jobs: Iterable[Job]) -> None:
        """Give up the reservations of runs that have ended."""
        for job in jobs:
            self._jobs.pop(job.run.id, None)
        self._write()

    def of_others(self) -> list[Mapping[str, Any]]:
        """Return the identities of the runs that other live searches have reserved."""
        found: list[Mapping[str, Any]] = []
        for path in self._folder.glob("*.json"):
            if path == self._file:
                continue
            if is_held(path.with_suffix(".lock")):
                identities = read_json(path).get("identities")
                found += [one for one in identities if isinstance(one, dict)] if isinstance(identities, list) else []
            else:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
        return found

    def _write(self) -> None:
        write_json(self._file, {"identities": [job.identity.content for job in self._jobs.values()]})
