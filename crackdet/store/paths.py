"""The files of a run directory."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

RUN_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{12}")
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class RunPaths:
    """One run directory; every path is a property."""

    root: Path  # the run store
    id: str

    @cached_property
    def directory(self) -> Path:
        return self.root / self.id

    @property
    def config_file(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def identity_file(self) -> Path:
        return self.directory / "identity.json"

    @property
    def provenance_file(self) -> Path:
        return self.directory / "provenance.json"

    @property
    def history_file(self) -> Path:
        return self.directory / "history.csv"

    @property
    def predictions_file(self) -> Path:
        return self.directory / "predictions.csv"

    @property
    def weights_file(self) -> Path:
        return self.directory / WEIGHTS

    @property
    def state_file(self) -> Path:
        return self.directory / "resume.pt"

    @property
    def failure_file(self) -> Path:
        return self.directory / "failure.json"

    @property
    def result_file(self) -> Path:
        return self.directory / "result.json"

    @property
    def pointing_file(self) -> Path:
        return self.directory / "pointing.json"

    @property
    def mlflow_file(self) -> Path:
        return self.directory / "mlflow.json"

    @property
    def lock_file(self) -> Path:
        return self.directory / "lock"

    @property
    def published_files(self) -> tuple[Path, ...]:
        """The files whose digests `result.json` records."""
        return (
            self.config_file, self.identity_file, self.provenance_file, self.history_file, self.predictions_file,
            self.weights_file,
        )  # fmt: skip
