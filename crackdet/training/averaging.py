"""An exponential moving average of the weights of a network (Polyak and Juditsky 1992)."""

import copy

import torch
from torch import nn


class WeightAverage:
    """A copy of a network whose weights follow those in training, as timm's `ModelEmaV3` without warm-up.

    Args:
        model: The network, with its initial weights.
        decay: The share of the average that each update keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._decay = decay
        self._pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present weights; buffers of integers are copied."""
        floats = [(average, value) for average, value in self._pairs if average.is_floating_point()]
        torch._foreach_lerp_([average for average, _ in floats], [value for _, value in floats], 1 - self._decay)
        for average, value in self._pairs:
            if not average.is_floating_point():
                average.copy_(value)


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())
