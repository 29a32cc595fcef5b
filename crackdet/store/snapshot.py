"""The status and the content of a run directory at one moment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crackdet.core.errors import StoreError
from crackdet.core.locks import is_held
from crackdet.store.failures import Failure, read_failure
from crackdet.store.history import read_history
from crackdet.store.identity import NON_IDENTITY, read_identity
from crackdet.store.integrity import find_corruption, read_result
from crackdet.store.provenance import read_provenance

if TYPE_CHECKING:
    from crackdet.store.run import Run


class Status(StrEnum):
    TODO = "todo"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    PRUNED = "pruned"
    CORRUPT = "corrupt"
    FINISHED = "finished"


@dataclass(frozen=True)
class RunSnapshot:
    """A run as it was when the snapshot was taken: status, result and failure.

    The other files are read on first use. To see later changes take a new snapshot.
    """

    run: "Run"
    status: Status
    result: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)  # None: no valid `result.json`
    corruption: str | None = field(default=None, compare=False)  # of a corrupt run: which file has changed, and how
    failure: Mapping[str, Any] = field(default_factory=dict, compare=False)  # empty if finished or never failed

    @classmethod
    def take(cls, run: "Run") -> "RunSnapshot":
        """Read the result and, unless the run is finished, the failure."""
        result = read_result(run)
        corruption = find_corruption(run, result)
        if result is not None and corruption is None:
            return cls(run, Status.FINISHED, result)
        if corruption is None and not os.path.isdir(run.directory):  # noqa: PTH112  # False if it may not be read
            return cls(run, Status.TODO)
        is_running = is_held(run.lock_file)  # before the failure, which the process writes before it ends
        failure = read_failure(run)
        status = Status.RUNNING if is_running else _unfinished_status(run, corruption, failure)
        return cls(run, status, result, corruption, failure)

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def is_repairable(self) -> bool:
        """Whether training replaces what is corrupt: not a folder, nor a file that this user may not read."""
        return not any(problem in (self.corruption or "") for problem in ("cannot be read", "is a folder"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as literal values by group; empty if there is none that `load_config` reads."""
        from crackdet.store.config_file import load_config

        try:
            return load_config(self.run)
        except StoreError:
            return {}

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """All settings that determine the result, by group, with three digests from the identity.

        Equal settings can mean different runs: `data.fingerprint` tells data sets apart, `model._source_` versions of
        the user's code, and `model._weights_` weights files.
        """
        settings = (self.result or {}).get("settings")
        settings = settings or {group: value for group, value in self.config.items() if group not in NON_IDENTITY}
        identity = read_identity(self.run)
        model = identity.get("model", {})
        weights = re.match("sha256:(.{12})", str(model.get("weights")))
        digests = {
            "data": {"fingerprint": str(identity.get("fingerprint", ""))[:12]},
            "model": {"_source_": str(model.get("_source_", ""))[:12], "_weights_": weights[1] if weights else ""},
        }
        for group, values in digests.items():
            known = {key: value for key, value in values.items() if value}
            if known and isinstance(settings.get(group), dict):
                settings = {**settings, group: {**settings[group], **known}}
        return settings

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """The content of `provenance.json`; empty if there is none."""
        return read_provenance(self.run)

    @cached_property
    def history(self) -> list[dict[str, str]]:
        """One row per epoch; a cell is empty if it holds no number."""
        return read_history(self.run)


def _unfinished_status(run: "Run", corruption: str | None, failure: Mapping[str, Any]) -> Status:
    if corruption is not None:
        return Status.CORRUPT
    if failure and failure.get("kind") != Failure.DIED:
        return Status.PRUNED if failure.get("kind") == Failure.PRUNED else Status.FAILED
    if failure or run.state_file.exists() or run.history_file.exists():
        return Status.INTERRUPTED
    return Status.TODO
