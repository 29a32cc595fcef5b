"""The files of a run directory."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

RUN_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{12}")
WEIGHTS = "model.safetensors"
FILES = (
    "config.yaml", "identity.json", "provenance.json", "history.csv", "predictions.csv", WEIGHTS, "resume.pt",
    "failure.json", "attempt", "result.json", "pointing.json", "mlflow.json", "test.json", "negatives.csv", "lock",
)  # fmt: skip
PUBLISHED = FILES[:6]  # those whose digests `result.json` records
MAY_BE_LINKS = (WEIGHTS, "resume.pt")  # large, and verified before use; what is displayed must not be a link


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
    negatives_file = RunFile("negatives.csv")  # logits of tiles without a crack
    mlflow_file = RunFile("mlflow.json")
    lock_file = RunFile("lock")

    @cached_property
    def directory(self) -> Path:
        return self.root / self.id

    @property
    def has_weights(self) -> bool:
        """Whether the weights are there; False if this user may not look."""
        return os.path.exists(self.weights_file)  # noqa: PTH110  # Path.exists raises PermissionError

    @property
    def published_files(self) -> tuple[Path, ...]:
        """The files whose digests `result.json` records."""
        return tuple(self.directory / name for name in PUBLISHED)
