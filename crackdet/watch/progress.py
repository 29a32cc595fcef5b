"""How far an unfinished run is, and how long it will take."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from crackdet.config.schema import MONITORS
from crackdet.store.snapshot import RunSnapshot

RECENT = 5  # epochs whose median duration predicts that of the next ones


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The state of a run's training, from its history and its configuration."""

    epochs: int = 0  # completed
    max_epochs: int = 0
    accuracy: float | None = None  # validation accuracy of the last epoch
    best: float | None = None  # that of the epoch that would be published
    epoch_seconds: float | None = None

    @classmethod
    def of(cls, snapshot: RunSnapshot) -> "RunProgress":
        """Read the progress of a run; missing or damaged files count as no progress."""
        trainer = snapshot.config.get("trainer")
        trainer = trainer if isinstance(trainer, Mapping) else {}
        max_epochs = trainer.get("max_epochs")
        max_epochs = max_epochs if isinstance(max_epochs, int) else 0
        rows = snapshot.history
        if not rows:
            return cls(max_epochs=max_epochs)
        monitor = trainer.get("monitor")
        monitor = monitor if isinstance(monitor, str) and monitor in MONITORS else "valid_loss"
        ranked = [(value, row) for row in rows if (value := _number(row, monitor)) is not None]
        choose = max if MONITORS[monitor] == "max" else min
        best = choose(ranked, key=lambda pair: pair[0])[1] if ranked else {}  # the first of equals, as in training
        seconds = [value for row in rows[-RECENT:] if (value := _number(row, "seconds")) is not None]
        return cls(
            epochs=len(rows),
            max_epochs=max_epochs,
            accuracy=_number(rows[-1], "valid_accuracy"),
            best=_number(best, "valid_accuracy"),
            epoch_seconds=median(seconds) if seconds else None,
        )

    def seconds_left(self, since: float) -> float | None:
        """Return the longest time until training ends, `since` seconds after the last epoch; None if unknown."""
        if self.epoch_seconds is None or not self.max_epochs:
            return None
        return max(0.0, (self.max_epochs - self.epochs) * self.epoch_seconds - max(0.0, since))


def _number(row: Mapping[str, Any], name: str) -> float | None:
    try:
        return float(row[name])
    except (KeyError, TypeError, ValueError):
        return None
