"""The Linear layer after flattened features: most of a custom network's weights, hundreds of millions of them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

WIDE = 2**22  # weights: below, there is nothing to gain
BLOCK = 2**22  # weights that are converted at once


class ChunkedLinear(nn.Linear):
    """`nn.Linear`, which trains in bf16 on a CPU with less memory.

    There its weights are converted to bf16 block by block, forward and backward, and their gradient comes block by
    block into float32: neither has a whole copy in bf16. The gradient comes into the same memory in every step, since
    the C library often cannot use again the hole that the last one has left.
    """

    _memory: torch.UntypedStorage | None = None  # of the weights' gradient

    def forward(self, input: Tensor) -> Tensor:
        if (
            input.device.type == "cpu"
            and self.weight.numel() >= WIDE
            and self.weight.requires_grad
            and torch.is_grad_enabled()
            and torch.is_autocast_enabled("cpu")
        ):
            output: Tensor = _InBlocks.apply(input, self.weight, self.bias, torch.get_autocast_dtype("cpu"), self)
            return output
        return super().forward(input)

    def empty_gradient(self) -> Tensor:
        """Shaped as the weights, not initialised; new where the usual memory holds what is accumulated."""
        if self.weight.grad is not None:
            return torch.empty_like(self.weight)
        if self._memory is None:
            self._memory = torch.empty_like(self.weight).untyped_storage()
        return torch.empty(0).set_(self._memory, 0, self.weight.shape, self.weight.stride())


class _InBlocks(torch.autograd.Function):
    """What autocast makes of `linear`, by blocks of input features, whose sums are added up in float32."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype, layer: ChunkedLinear
    ) -> Tensor:
        low_input = input.to(dtype)
        ctx.save_for_backward(low_input, weight)
        ctx.input_dtype, ctx.layer = input.dtype, layer
        output = bias.repeat(len(input), 1)
        for block in _blocks(weight):
            output += low_input[:, block] @ weight[:, block].to(dtype).t()
        return output.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        """`gradient` is (N, out), that of the input (N, in), that of the weights (out, in) in float32."""
        input, weight = ctx.saved_tensors
        of_input = torch.empty_like(input) if ctx.needs_input_grad[0] else None
        of_weight = ctx.layer.empty_gradient()
        transposed = gradient.t().contiguous()
        for block in _blocks(weight):
            if of_input is not None:
                of_input[:, block] = gradient @ weight[:, block].to(gradient.dtype)
            of_weight[:, block] = transposed @ input[:, block]
        of_input = None if of_input is None else of_input.to(ctx.input_dtype)
        return of_input, of_weight, gradient.sum(0, dtype=torch.float32), None, None


def _blocks(weight: Tensor) -> Iterator[slice]:
    """Of input features, for weights (out, in)."""
    width = max(1, BLOCK // len(weight))
    return (slice(first, first + width) for first in range(0, weight.shape[1], width))
