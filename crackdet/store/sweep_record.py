"""What a sweep consists of: a line for each of its runs, in its folder beside Hydra's logs."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crackdet.core.errors import UserError
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore

RECORD = "runs.jsonl"


@dataclass(frozen=True)
class SweepRecord:
    """`runs.jsonl` in a sweep's folder: run store, run id and overrides, one line a run."""

    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / RECORD

    def make(self, store: Path) -> None:
        """Makes the folder, for runs in this store.

        Raises:
            UserError: where that cannot be, or the folder is of a sweep in another store: it is shown as one.
        """
        former = self.store()
        if former is not None and former.is_dir() and former.resolve() != store.resolve():
            raise UserError(
                f"hydra.sweep.dir={self.directory}: is of a sweep whose runs are in {former}; "
                f"give another folder for runs in {store}"
            )
        RunStore(store).check_version()
        self._make_folder()

    def _make_folder(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"hydra.sweep.dir={self.directory}: cannot be made ({error.strerror}); give another folder"
            ) from None

    def add(self, run: Run, overrides: Sequence[str]) -> None:
        """Appends a run, in one write: jobs in several processes may do so at once.

        Raises:
            UserError: where that cannot be written.
        """
        self._make_folder()
        store = os.path.relpath(run.root.resolve(), self.directory.resolve())
        line = json.dumps({"id": run.id, "store": store, "overrides": list(overrides)})
        try:
            with self.file.open("ab+") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
                begin = b"" if file.read() in (b"", b"\n") else b"\n"  # after what one that died left half-written
                file.write(begin + line.encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.file}: cannot be written ({error.strerror}); make room there") from None

    def runs(self) -> dict[str, list[str]]:
        """Run ids with their overrides, in the order of their first mention."""
        entries: dict[str, list[str]] = {}
        for entry in self._lines():
            entries.setdefault(entry["id"], entry["overrides"])
        return entries

    def store(self) -> Path | None:
        """The run store of the sweep; None where it has no run yet."""
        place = None
        for entry in self._lines():
            # from where the folder really is, or, as older records mean it, from where its name says
            for at in (self.directory.resolve(), self.directory):
                place = Path(os.path.normpath(at / entry["store"]))
                if place.is_dir():
                    return place
        return place

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.file.is_file():
            return
        with self.file.open("rb") as file:
            for line in file:
                entry = None
                with suppress(ValueError):  # half a line
                    entry = json.loads(line)
                if isinstance(entry, dict) and entry.keys() >= {"id", "store", "overrides"} and entry["store"]:
                    yield entry
