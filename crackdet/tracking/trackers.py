"""Experiment trackers: what a run becomes, told to TensorBoard and MLflow too.

The run directories hold everything; a tracker is a copy of it for those who live there. So no tracker can fail a run:
one that goes wrong says so once and is not asked again before the end of the run. Trackers are told the whole history
each time, and write what they do not have yet: so they catch up after a gap, and a resumed run goes on where it was.
"""

import importlib
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

History = Sequence[Mapping[str, Any]]  # a row for each epoch, as in history.csv

MODULES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}  # setting of the group -> module that has to be there
RESULTS = (  # of result.json: what is told at the end, beside the course of each epoch
    "accuracy", "loss", "precision", "recall", "f1", "roc_auc", "average_precision", "calibration_error", "parameters",
    "feature_flops", "latency_ms", "throughput", "seconds", "peak_memory_mib", "weights_mib",
)  # fmt: skip


@dataclass(frozen=True)
class TrackedRun:
    """The run that is told of."""

    run: Run
    parameters: Mapping[str, Any]  # the settings that decide the result, by dotted key
    overrides: Sequence[str]
    sweep: str | None = None  # the folder of the sweep that trains it


class Tracker(Protocol):
    """One tracker at work on one run; it may raise whatever it likes."""

    def update(self, history: History) -> None:
        """Writes the epochs that it does not have yet."""

    def end(self, status: Status, result: Mapping[str, float]) -> None:
        """Writes how the run has ended, finished with its `result`, and closes."""


def check_trackers(settings: Settings) -> None:
    """Looks for the packages of the trackers that are asked for, without importing them.

    Raises:
        UserError: where one is missing: before training, since afterwards the course of the runs is told to nobody.
    """
    for name, module in MODULES.items():
        if getattr(settings, name) is not None and importlib.util.find_spec(module) is None:
            raise UserError(
                f"tracker={name}: {module} is not installed; uv pip install -e '.[{name}]', or say tracker=none"
            )


class Trackers:
    """All trackers of a run; none of them can stop it."""

    def __init__(self, settings: Settings, subject: TrackedRun) -> None:
        """Begins the run in each tracker that is asked for, or goes on with it."""
        self._subject = subject
        self._wished = {name: own for name in MODULES if (own := getattr(settings, name)) is not None}
        self._trackers: dict[str, Tracker] = {}
        self._silent: set[str] = set()
        self._history: History = []
        for name in self._wished:
            self._try(name, partial(self._open, name))

    def update(self, history: History) -> None:
        """To be called whenever an epoch has ended, with all epochs so far."""
        self._history = history
        for name, tracker in self._trackers.items():
            if name not in self._silent:
                self._try(name, partial(tracker.update, history))

    def end(self, status: Status, result: Mapping[str, Any] | None = None) -> None:
        """To be called once, with how the run has ended and the content of `result.json` where there is one."""
        values = {name: float(value) for name in RESULTS if (value := (result or {}).get(name)) is not None}
        for name in self._wished:
            self._try(name, partial(self._close, name, status, values))

    def _open(self, name: str) -> None:
        module = importlib.import_module(f"crackdet.tracking.{name}")  # imports what runs without it do not pay for
        self._trackers[name] = module.open_tracker(self._wished[name], self._subject)

    def _close(self, name: str, status: Status, result: Mapping[str, float]) -> None:
        if name not in self._trackers:  # one that could not be had, or has failed meanwhile, may be back
            self._open(name)
        tracker = self._trackers[name]
        tracker.update(self._history)
        tracker.end(status, result)

    def _try(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if name not in self._silent:
                self._silent.add(name)
                reason = " ".join(str(error).split()) or type(error).__name__
                log.warning("tracker=%s: %s; the run goes on without it", name, reason[:300])
