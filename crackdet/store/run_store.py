"""The run store: a folder of run directories, the only database."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from crackdet.core.errors import UserError
from crackdet.core.files import store_gone, write_error
from crackdet.core.reading import read_json
from crackdet.store.identity import SCHEMA
from crackdet.store.paths import RUN_ID
from crackdet.store.run import AlreadyRunning, Run

log = logging.getLogger(__name__)

MAX_CHECKED = 5  # runs whose identity is opened to find out by which version a store was written


@dataclass(frozen=True)
class RunStore:
    """A folder of run directories."""

    root: Path

    def run(self, run_id: str) -> Run:
        """Return the run with this id, whether or not it exists.

        Raises:
            UserError: If the text is not a run id (it might lead out of the store).
        """
        if not RUN_ID.fullmatch(run_id):
            raise UserError(f"{run_id}: is not a run id; one looks like custom-0123456789ab")
        return Run(self.root, run_id)

    def check_version(self) -> None:
        """Raise UserError if the runs were written by a version of crackdet with other settings."""
        try:
            with os.scandir(self.root) as entries:
                names = list(islice((entry.name for entry in entries if RUN_ID.fullmatch(entry.name)), MAX_CHECKED))
        except OSError:
            return
        schemas = {read_json(self.root / name / "identity.json").get("schema", SCHEMA) for name in names}
        if schemas and SCHEMA not in schemas:  # a single odd run hides no other
            writer = "crackdet 0.1" if 1 in schemas else "another version of crackdet"
            raise UserError(
                f"{self.root}: this run store was written by {writer}, whose settings have other names; "
                f"use another folder (runtime.store=FOLDER), or read this store with {writer}"
            )

    def check_writable(self) -> None:
        """Raise UserError if run directories cannot be created, or the store is of another version."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"runtime.store={write_error(self.root, error)}") from None
        if not os.access(self.root, os.W_OK | os.X_OK):
            read_only = hasattr(os, "statvfs") and os.statvfs(self.root).f_flag & os.ST_RDONLY
            cause = "is on a read-only file system" if read_only else "is not writable"
            raise UserError(f"runtime.store={self.root}: {cause}; give another folder")
        self.check_version()

    def check_exists(self) -> None:
        """Raise StoreGone if there is no store: a job must not create the store of its sweep again."""
        if not self.root.is_dir():
            raise store_gone(self.root)

    def runs(self) -> Iterator[Run]:
        """Yield all readable runs, by name; raise UserError as `check_version`."""
        if self.root.is_dir():
            self.check_version()
            with os.scandir(self.root) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            yield from self._readable(names)

    def select(self, names: Iterable[str]) -> Iterator[Run]:
        """Yield those of these directory entries that are readable runs, by name."""
        paths = {name: f"{self.root}/{name}" for name in names}  # strings: a store has many runs
        found = [name for name, path in paths.items() if os.path.isdir(path) and not os.path.islink(path)]  # noqa: PTH112, PTH114
        yield from self._readable(found)

    def find(self, text: str) -> Run:
        """Return the run whose id or hash begins with a text.

        Raises:
            UserError: If there is no such run, or several.
        """
        if not text:
            raise UserError("no run is named: give its id, the beginning of it, or best")
        matches = [run for run in self.runs() if run.id.startswith(text) or run.id.partition("-")[2].startswith(text)]
        if not matches:
            raise UserError(f"{text}: no such run in {self.root}; crackdet runs lists them")
        if len(matches) > 1:
            listed = ", ".join(run.id for run in matches[:5])
            raise UserError(f"{text}: matches several runs: {listed}; give more characters of the id")
        return matches[0]

    def remove(self, run: Run) -> None:
        """Delete a run for good.

        Raises:
            UserError: If a process is training it, or it cannot be deleted.
        """
        try:
            odd = run.lock_file.is_symlink() or (run.lock_file.exists() and not run.lock_file.is_file())
            if odd:  # nobody can hold it
                shutil.rmtree(run.directory)
                return
            with run.claim():
                for path in run.directory.iterdir():
                    if path != run.lock_file:
                        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                run.lock_file.unlink()  # last: from now on another process can claim the run
                with suppress(OSError):  # another process has done so
                    run.directory.rmdir()
        except AlreadyRunning:
            raise UserError(f"{run.id}: is running; stop it first") from None
        except OSError as error:
            raise UserError(f"{error.filename or run.directory}: cannot be deleted ({error.strerror})") from None

    def _readable(self, names: Iterable[str]) -> Iterator[Run]:
        for name in sorted(name for name in names if RUN_ID.fullmatch(name)):
            if os.access(f"{self.root}/{name}", os.R_OK | os.X_OK):
                yield Run(self.root, name)
            else:
                _warn_unreadable(f"{self.root}/{name}")


@cache
def _warn_unreadable(directory: str) -> None:
    log.warning("%s: is not readable by this user, and is left out", directory)
