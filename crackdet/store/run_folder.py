"""The folders that a command reads runs from: a run store, or the folder of a sweep."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from crackdet.core.errors import UserError
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_list import listed_sweeps
from crackdet.store.sweep_record import SweepRecord, find_sweeps


@dataclass(frozen=True)
class RunFolder:
    """A run store, or the folder of a sweep."""

    path: Path
    store: RunStore  # of the sweep, if the folder is that of one
    overrides: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of a sweep's runs, by run id

    @classmethod
    def open(cls, path: Path, option: str = "") -> "RunFolder":
        """Open a folder.

        Args:
            option: What the path was given as; begins the message.

        Raises:
            UserError: If there is no such folder, or its runs were written by another version.
        """
        record = SweepRecord(path)
        overrides = record.runs()
        if not overrides and not path.is_dir():
            problem = "is a file" if path.is_file() else "no such folder"
            message = f"{option}{path}: {problem}; give a run store, which train.py creates, or a sweep's folder"
            raise UserError(message)
        store = RunStore((record.store() or path) if overrides else path)
        store.check_version()
        return cls(path, store, overrides)

    @property
    def is_sweep(self) -> bool:
        return bool(self.overrides)

    def runs(self) -> list[Run]:
        """Return the runs of the sweep in the order in which they were added, or all runs of the store by name."""
        return [self.store.run(run_id) for run_id in self.overrides] if self.is_sweep else list(self.store.runs())

    def sweeps(self) -> Iterator[SweepRecord]:
        """Yield the sweeps of the store, the newest first; those that its list lacks come last."""
        root, seen = self.store.root.resolve(), set()
        for directory in (*listed_sweeps(root), *_unlisted_sweeps(root)):
            record = SweepRecord(directory)
            if directory not in seen and (store := record.store()) is not None and store.resolve() == root:
                yield record
            seen.add(directory)


def _unlisted_sweeps(store: Path) -> Iterator[Path]:
    """Yield the sweep folders in `multirun`, here and beside the store, the last changed first."""
    roots = {Path("multirun").resolve(), store.parent.parent / "multirun"}
    records = [SweepRecord(folder).file for folder in set.union(*map(find_sweeps, roots))]
    with suppress(OSError):
        yield from (path.parent for path in sorted(records, key=lambda path: path.stat().st_mtime_ns, reverse=True))
