"""The files of a run directory."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

RUN_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{12}")
WEIGHTS = "model.safetensors"


class RunFile:
    """A property of `RunPaths`: the path of a file in the run directory."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: "RunPaths", _owner: object = None) -> Path:
        return run.directory / self._name


@dataclass(frozen=True)
class RunPaths:
    """One run directory; every path is a property."""

    root: Path  # the run store
    id: str

    config_file = RunFile("config.yaml")
    identity_file = RunFile("identity.json")
    provenance_file = RunFile("provenance.json")
    history_file = RunFile("history.csv")
    predictions_file = RunFile("predictions.csv")
    weights_file = RunFile(WEIGHTS)
    state_file = RunFile("resume.pt")
    failure_file = RunFile("failure.json")
    attempt_file = RunFile("attempt")  # where the attempt is; overwritten in place
    result_file = RunFile("result.json")
    pointing_file = RunFile("pointing.json")
    mlflow_file = RunFile("mlflow.json")
    lock_file = RunFile("lock")

    @cached_property
    def directory(self) -> Path:
        return self.root / self.id

    @property
    def published_files(self) -> tuple[Path, ...]:
        """The files whose digests `result.json` records."""
        inputs = (self.config_file, self.identity_file, self.provenance_file)
        return (*inputs, self.history_file, self.predictions_file, self.weights_file)
