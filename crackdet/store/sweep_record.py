"""The runs of a sweep: `runs.jsonl` in its folder, beside Hydra's logs."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crackdet.core.errors import UserError
from crackdet.core.reading import MIB, parse_json, read_bytes
from crackdet.store.paths import RUN_ID
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_list import add_sweep, open_unlinked

RECORD = "runs.jsonl"
MAX_BYTES = 256 * MIB
USUAL_DEPTHS = ("*", "*/*")  # of sweep folders in Hydra's folder `multirun`


@dataclass(frozen=True)
class SweepRecord:
    """A line with run store, run id and overrides for each run of a sweep."""

    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / RECORD

    def make(self, store: Path) -> None:
        """Create the folder for runs in this store.

        Raises:
            UserError: If the folder cannot be created or is that of a sweep in another store, or the store is of
                another version.
        """
        former = self.store()
        if former is not None and former.is_dir() and former.resolve() != store.resolve():
            raise UserError(
                f"hydra.sweep.dir={self.directory}: belongs to a sweep whose runs are in {former}; "
                f"give another folder for runs in {store}"
            )
        RunStore(store).check_version()
        self._make_folder()
        add_sweep(store, self.directory)

    def _make_folder(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"hydra.sweep.dir={self.directory}: cannot be created ({error.strerror}); give another folder"
            ) from None

    def add(self, run: Run, overrides: Sequence[str]) -> None:
        """Append a run, in one write: jobs in several processes may do so at the same time.

        Raises:
            UserError: If the file cannot be written.
        """
        self._make_folder()
        store = os.path.relpath(run.root.resolve(), self.directory.resolve())
        line = json.dumps({"id": run.id, "store": store, "overrides": list(overrides)})
        try:
            with open(self.file, "ab+", opener=open_unlinked) as file:
                file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
                begin = b"" if file.read() in (b"", b"\n") else b"\n"  # after the half line of a process that died
                file.write(begin + line.encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.file}: cannot be written ({error.strerror}); free some space there") from None

    def runs(self) -> dict[str, list[str]]:
        """Return run ids with their overrides, in the order in which they were first added."""
        runs: dict[str, list[str]] = {}
        for row in self._rows():
            runs.setdefault(row["id"], row["overrides"])
        return runs

    def store(self) -> Path | None:
        """Return the run store of the sweep; None if it has no run yet."""
        folder, store = self.directory.resolve(), None
        for row in self._rows():
            store = Path(os.path.normpath(folder / row["store"]))
            if store.is_dir():
                break
        return store

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the file; none if it is missing, and none of half a line or of what no sweep writes."""
        try:
            lines = read_bytes(self.file, MAX_BYTES).split(b"\n")
        except OSError:
            return
        for line in lines:
            with suppress(ValueError):
                row = parse_json(line)
                run_id, store, overrides = (row.get(name) for name in ("id", "store", "overrides"))
                if (
                    isinstance(run_id, str)
                    and RUN_ID.fullmatch(run_id)
                    and isinstance(store, str)
                    and "\0" not in store
                    and isinstance(overrides, list)
                    and all(isinstance(override, str) for override in overrides)
                ):
                    yield row


def find_sweeps(parent: Path) -> set[Path]:
    """Return the folders of sweeps in a folder such as `multirun`."""
    return {record.parent for depth in USUAL_DEPTHS for record in parent.glob(f"{depth}/{RECORD}")}
