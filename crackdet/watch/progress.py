"""How far a run is that is not finished, and how long it will still take."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from crackdet.config.schema import MONITORS
from crackdet.store.run_store import Run

RECENT = 5  # epochs, whose seconds foretell those to come


@dataclass(frozen=True, slots=True)
class RunProgress:
    """What `history.csv` says of a run, and what its configuration says of the end."""

    epochs: int = 0  # done
    max_epochs: int = 0
    accuracy: float | None = None  # of the last epoch, on the validation images
    best: float | None = None  # of the epoch that would be published
    epoch_seconds: float | None = None

    def seconds_left(self, since: float) -> float | None:
        """At most, `since` so many seconds after the last epoch: training may stop earlier. None: not known yet."""
        if self.epoch_seconds is None or not self.max_epochs:
            return None
        return max(0.0, (self.max_epochs - self.epochs) * self.epoch_seconds - max(0.0, since))


NO_COURSE = RunProgress()


def course_of(run: Run) -> RunProgress:
    """The course of a run; of files that say nothing, none."""
    trainer = run.config.get("trainer")
    trainer = trainer if isinstance(trainer, Mapping) else {}
    max_epochs = trainer.get("max_epochs")
    rows = run.history
    if not rows:
        return RunProgress(max_epochs=max_epochs if isinstance(max_epochs, int) else 0)
    monitor = trainer.get("monitor")
    monitor = monitor if isinstance(monitor, str) and monitor in MONITORS else "valid_loss"
    ranked = [(value, row) for row in rows if (value := _number(row, monitor)) is not None]
    choose = max if MONITORS[monitor] == "max" else min
    best = choose(ranked, key=lambda pair: pair[0])[1] if ranked else {}  # of equals the first, as training does
    seconds = [value for row in rows[-RECENT:] if (value := _number(row, "seconds")) is not None]
    return RunProgress(
        len(rows),
        max_epochs if isinstance(max_epochs, int) else 0,
        _number(rows[-1], "valid_accuracy"),
        _number(best, "valid_accuracy"),
        median(seconds) if seconds else None,
    )


def _number(row: Mapping[str, Any], name: str) -> float | None:
    try:
        return float(row[name])
    except (KeyError, TypeError, ValueError):
        return None
