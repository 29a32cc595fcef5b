"""What a sweep consists of: a line for each of its runs, in its folder beside Hydra's logs."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crackdet.store import Run


@dataclass(frozen=True)
class SweepRecord:
    """`runs.jsonl` in a sweep's folder: run store, run id and overrides, one line a run."""

    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / "runs.jsonl"

    def add(self, run: Run, overrides: Sequence[str]) -> None:
        """Appends a run, in one write: jobs in several processes may do so at once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        store = os.path.relpath(run.root, self.directory)
        line = json.dumps({"id": run.id, "store": store, "overrides": list(overrides)})
        with self.file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def runs(self) -> dict[str, list[str]]:
        """Run ids with their overrides, in the order of their first mention."""
        entries: dict[str, list[str]] = {}
        for entry in self._lines():
            entries.setdefault(entry["id"], entry["overrides"])
        return entries

    def store(self) -> Path | None:
        """The run store of the sweep; None where it has no run yet."""
        for entry in self._lines():
            return Path(os.path.normpath(self.directory / entry["store"]))
        return None

    def _lines(self) -> list[dict]:  # type: ignore[type-arg]
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines() if line.strip()]
