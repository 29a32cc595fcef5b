"""The training state that a resumed run needs to end like an uninterrupted one, and when to save it."""

import logging
import time
import zipfile
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
from crackdet.training.averaging import WeightAverage
from crackdet.training.unfreezing import GradualUnfreezing

log = logging.getLogger(__name__)

MAX_SAVE_SHARE = 0.02  # of the time


@dataclass
class BestEpoch:
    """The best epoch so far: its weights and their metrics."""

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
    """Progress of training: the next epoch, counted from 1, the next batch, counted from 0, and the history."""

    epoch: int = 1
    batch: int = 0
    loss_sum: float = 0.0  # over the images of the current epoch so far
    correct: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0  # of training and validation, over all attempts
    best: BestEpoch = field(default_factory=BestEpoch)
    history: list[dict[str, Any]] = field(default_factory=list)

    def stopped_early(self, trainer: Trainer) -> bool:
        return self.epoch - 1 - self.best.epoch >= trainer.patience


@dataclass
class TrainingState:
    """Network, optimizer, scheduler and progress, saved in one file."""

    model: nn.Module
    optimizer: optim.Optimizer
    scheduler: lr_scheduler.LRScheduler
    progress: Progress
    average: WeightAverage | None = None  # of the network's weights
    unfreezing: GradualUnfreezing | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and published."""
        return self.model if self.average is None else self.average.model

    def set_training_mode(self) -> None:
        """Set the network to training mode, except for its parts that are frozen in the current epoch."""
        self.model.train()
        if self.unfreezing is not None:
            self.unfreezing.apply(self.progress.epoch)

    def size(self) -> int:
        """Return the approximate bytes of the file."""
        tensors = [*self.model.state_dict().values(), *self.progress.best.weights.values()]
        if self.average is not None:
            tensors += self.average.model.state_dict().values()
        for state in self.optimizer.state.values():
            tensors += [value for value in state.values() if isinstance(value, Tensor)]
        return sum(tensor.nbytes for tensor in tensors)

    def save(self, path: Path, run_id: str) -> None:
        """Save the state of this run.

        Raises:
            WriteFailed: If the disk is full; an earlier state stays intact.
        """
        content = {
            "run": run_id,
            "model": self.model.state_dict(),
            **({} if self.average is None else {"average": self.average.model.state_dict()}),
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
        """Load the saved state of this run; executes nothing in the file.

        Raises:
            Exception: Of any kind, if the file is damaged or from another network; the state is then undefined.
        """
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums of the entries
            if (corrupt := archive.testzip()) is not None:
                raise ValueError(f"{corrupt} is corrupt")
            for entry in archive.infolist():  # torch reads nothing of an entry whose attributes say that it is a folder
                if entry.external_attr or entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{entry.filename} is not an entry that torch writes")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["run"] != run_id:
            raise ValueError(f"saved by another run: {content['run']}")
        self.model.load_state_dict(content["model"])
        if self.average is not None:
            self.average.model.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["scheduler"])
        progress = content["progress"]
        self.progress = Progress(**{**progress, "best": BestEpoch(**progress["best"])})
        torch.set_num_threads(content["threads"])  # another number of threads changes the last bits of sums
        torch.set_rng_state(content["torch_rng"])
        if content["device_rng"] is not None:
            self._set_device_rng(content["device_rng"])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _device_rng(self) -> Tensor | None:
        """Return the state of the device's generator; None on a CPU, which uses torch's own."""
        if self._device.type == "cuda":
            return torch.cuda.get_rng_state(self._device)
        return torch.mps.get_rng_state() if self._device.type == "mps" else None

    def _set_device_rng(self, state: Tensor) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state, self._device)
        elif self._device.type == "mps":
            torch.mps.set_rng_state(state)


class Checkpointer:
    """Saves the state every few minutes, in at most 2 % of the time, and if the process is asked to stop."""

    def __init__(self, save: Callable[[], None], minutes: float, request: StopRequest) -> None:
        self._save, self._request = save, request
        self._wait = minutes * 60
        self._last = time.monotonic()

    @property
    def stop_requested(self) -> bool:
        return self._request.signum is not None

    def due(self) -> bool:
        return self.stop_requested or time.monotonic() - self._last >= self._wait

    def save(self) -> None:
        """Save the state.

        Raises:
            Interrupted: Afterwards, if the process was asked to stop.
        """
        if self.stop_requested:
            log.warning("stopping: saving the state (a second signal stops at once)")
        began = time.monotonic()
        self._save()
        self._last = time.monotonic()
        self._wait = max(self._wait, (self._last - began) / MAX_SAVE_SHARE)
        self._request.raise_if_asked()
