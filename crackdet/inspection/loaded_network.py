"""The network of a finished run, and the samples it is inspected on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crackdet.config.schema import Config
from crackdet.inference.loaded_run import LoadedRun
from crackdet.models.classifier import Classifier
from crackdet.store.run import Run


@dataclass(frozen=True)
class Sample:
    """One image at the network's input size, with its label and mask if known."""

    name: str
    pixels: NDArray[np.uint8]  # (S, S, 3) RGB
    crack: bool | None = None
    mask: NDArray[np.bool_] | None = None  # (S, S), True on the crack
    context: NDArray[np.uint8] | None = None  # (H, W, 3): of a tile, its photograph with the tile outlined

    @property
    def crack_mask(self) -> NDArray[np.bool_] | None:
        """The mask, if it marks a crack."""
        return self.mask if self.mask is not None and self.mask.any() else None


@dataclass(frozen=True)
class LoadedNetwork:
    """A run's network on its device, in evaluation mode."""

    run: Run
    config: Config
    model: Classifier

    def tensor(self, samples: Sequence[Sample]) -> Tensor:
        """Return the samples as network input: (N, 3, S, S), float32 in [0, 1]."""
        pixels = torch.from_numpy(np.stack([sample.pixels for sample in samples]))
        return pixels.permute(0, 3, 1, 2).float().div_(255).to(next(self.model.parameters()).device)

    @torch.no_grad()
    def probabilities(self, samples: Sequence[Sample]) -> list[float]:
        """Return the crack probability of each sample."""
        batch = self.config.trainer.batch_size
        parts = [self.model(self.tensor(samples[i : i + batch])).sigmoid() for i in range(0, len(samples), batch)]
        return [float(p) for p in torch.cat(parts)] if parts else []


def load_network(loaded: LoadedRun, device: str = "auto") -> LoadedNetwork:
    """Load the published weights of a finished run; raises UserError as `LoadedRun.model`."""
    return LoadedNetwork(loaded.run, loaded.config, loaded.model(device))
