"""Report runs to experiment trackers: TensorBoard and MLflow.

A tracker holds a copy of the run directory, so no tracker can fail a run: one that raises is reported once and skipped
until the run ends. Trackers receive the whole history at each update and write what they do not have yet, so they
catch up after a gap and continue a resumed run.
"""

import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from crackdet.config.schema import Tracker as Settings
from crackdet.core.errors import UserError
from crackdet.store.run import Run
from crackdet.store.snapshot import Status

log = logging.getLogger(__name__)

EpochHistory = Sequence[Mapping[str, Any]]  # one row per epoch, as in history.csv

CLASSES = {"tensorboard": "TensorBoardTracker", "mlflow": "MLflowTracker"}  # by setting, which names the package too
RESULT_METRICS = (  # fields of result.json that are reported at the end
    "accuracy", "loss", "precision", "recall", "f1", "roc_auc", "average_precision", "calibration_error", "parameters",
    "feature_flops", "latency_ms", "throughput", "seconds", "peak_memory_mib", "weights_mib",
)  # fmt: skip


@dataclass(frozen=True)
class TrackedRun:
    """A run, and what trackers show about it."""

    run: Run
    parameters: Mapping[str, Any]  # the settings that decide the result, by dotted key
    overrides: Sequence[str]
    sweep: str | None = None  # the sweep's folder


class Tracker(Protocol):
    """One tracker of one run; any exception it raises is handled by `Trackers`."""

    def update(self, history: EpochHistory) -> None:
        """Write the epochs that the tracker does not have yet."""

    def end(self, status: Status, result: Mapping[str, float]) -> None:
        """Write the final status and the result, and close."""


def check_trackers(settings: Settings) -> None:
    """Check that the packages of the configured trackers are installed, without importing them.

    Raises:
        UserError: If one is missing; before training, since runs cannot be reported afterwards.
    """
    for name in CLASSES:
        if getattr(settings, name) is not None and importlib.util.find_spec(name) is None:
            raise UserError(
                f"tracker={name}: {name} is not installed; uv pip install -e '.[{name}]', or set tracker=none"
            )


class Trackers:
    """All trackers of a run; none of them can stop the run."""

    def __init__(self, settings: Settings, tracked: TrackedRun) -> None:
        """Start or continue the run in each configured tracker."""
        self._tracked = tracked
        self._settings = {name: own for name in CLASSES if (own := getattr(settings, name)) is not None}
        self._trackers: dict[str, Tracker] = {}
        self._failed: set[str] = set()
        self._history: EpochHistory = []
        for name in self._settings:
            self._guard(name, partial(self._open, name))

    def update(self, history: EpochHistory) -> None:
        """Report all epochs so far; call after each epoch."""
        self._history = history
        for name, tracker in self._trackers.items():
            if name not in self._failed:
                self._guard(name, partial(tracker.update, history))

    def end(self, status: Status, result: Mapping[str, Any] | None = None) -> None:
        """Report the final status and the content of `result.json`, if any; call once."""
        values = {name: float(value) for name in RESULT_METRICS if (value := (result or {}).get(name)) is not None}
        for name in self._settings:
            self._guard(name, partial(self._end, name, status, values))

    def _open(self, name: str) -> None:
        module = importlib.import_module(f"crackdet.tracking.{name}")  # imported only if configured
        self._trackers[name] = getattr(module, CLASSES[name])(self._settings[name], self._tracked)

    def _end(self, name: str, status: Status, result: Mapping[str, float]) -> None:
        if name not in self._trackers:  # a tracker that failed to open may be available again
            self._open(name)
        tracker = self._trackers[name]
        tracker.update(self._history)
        tracker.end(status, result)

    def _guard(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            if name not in self._failed:
                self._failed.add(name)
                reason = " ".join(str(error).split()) or type(error).__name__
                log.warning("tracker=%s: %s; the run continues without it", name, reason[:300])
