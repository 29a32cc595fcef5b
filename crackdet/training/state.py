"""All state that a run needs to go on as if it had never stopped."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from crackdet.config.schema import MONITORS, Trainer
from crackdet.core.files import atomic_write
from crackdet.core.signals import StopRequest

log = logging.getLogger(__name__)

SHARE = 0.02  # of the time may go into writing


@dataclass
class Best:
    """The epoch whose weights are kept, and what was measured with them."""

    epoch: int = 0
    value: float | None = None  # of trainer.monitor
    weights: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))  # of the validation images
    metrics: dict[str, float] = field(default_factory=dict)

    def improved_by(self, value: float, trainer: Trainer) -> bool:
        if self.value is None:
            return True
        gain = value - self.value if MONITORS[trainer.monitor] == "max" else self.value - value
        return gain > trainer.min_delta


@dataclass
class Progress:
    """How far training has come: epoch and batch are the next ones to do, counted from 1 and from 0."""

    epoch: int = 1
    batch: int = 0
    loss_sum: float = 0.0  # of the unfinished epoch, over its images so far
    correct: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0  # of training and validation, over all attempts
    best: Best = field(default_factory=Best)
    history: list[dict[str, Any]] = field(default_factory=list)

    def stopped_early(self, trainer: Trainer) -> bool:
        return self.epoch - 1 - self.best.epoch >= trainer.patience


@dataclass
class TrainingState:
    """Network, optimizer, schedule and progress, as one file on disk."""

    model: nn.Module
    optimizer: optim.Optimizer
    scheduler: lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau
    progress: Progress

    def size(self) -> int:
        """About how many bytes it takes on disk."""
        tensors = [*self.model.state_dict().values(), *self.progress.best.weights.values()]
        for state in self.optimizer.state.values():
            tensors += [value for value in state.values() if isinstance(value, Tensor)]
        return sum(tensor.nbytes for tensor in tensors)

    def save(self, path: Path, run_id: str) -> None:
        """Writes the state of this run.

        Raises:
            WriteFailed: where there is no room; an earlier state is intact.
        """
        content = {
            "run": run_id,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "progress": {**vars(self.progress), "best": vars(self.progress.best)},
            "torch_rng": torch.get_rng_state(),
            "device_rng": self._device_rng(),
            "threads": torch.get_num_threads(),
        }
        with atomic_write(path, self.size()) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path, run_id: str) -> None:
        """Goes back to what was saved of this run; nothing in the file is executed.

        Raises:
            Exception: of many kinds, where the file is damaged or of another network; nothing is promised then.
        """
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["run"] != run_id:
            raise ValueError(f"it is of {content['run']}")
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["scheduler"])
        progress = content["progress"]
        self.progress = Progress(**{**progress, "best": Best(**progress["best"])})
        torch.set_num_threads(content["threads"])  # sums of another number of threads differ in the last bits
        torch.set_rng_state(content["torch_rng"])
        if content.get("device_rng") is not None:
            self._set_device_rng(content["device_rng"])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _device_rng(self) -> Tensor | None:
        """Of the generator that draws on the device; None for a CPU, whose is torch's own."""
        if self._device.type == "cuda":
            return torch.cuda.get_rng_state(self._device)
        return torch.mps.get_rng_state() if self._device.type == "mps" else None

    def _set_device_rng(self, state: Tensor) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state, self._device)
        elif self._device.type == "mps":
            torch.mps.set_rng_state(state)


class Checkpointer:
    """Saves the state when it is due: no sooner than wished, for no more than 2 % of the time, and on request."""

    def __init__(self, save: Callable[[], None], minutes: float, request: StopRequest) -> None:
        self._save = save
        self._wait = minutes * 60
        self._last = time.monotonic()
        self._request = request

    @property
    def asked_to_stop(self) -> bool:
        return self._request.signum is not None

    def due(self) -> bool:
        return self.asked_to_stop or time.monotonic() - self._last >= self._wait

    def save(self) -> None:
        """Saves.

        Raises:
            Interrupted: afterwards, where the process was asked to stop.
        """
        if self.asked_to_stop:
            log.warning("stopping: saving the state (again: leave at once)")
        began = time.monotonic()
        self._save()
        self._last = time.monotonic()
        self._wait = max(self._wait, (self._last - began) / SHARE)
        self._request.raise_if_asked()
