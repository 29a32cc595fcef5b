"""The Linear layer after the flattened features, which holds most weights of a custom network."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

MIN_CHUNKED = 2**22  # weights; smaller layers gain nothing
CHUNK = 2**22  # weights converted at once
CRASHING_SHAPE = (24, 65536)  # on CPUs with AMX, torch 2.14 divides by zero in bf16 (SIGFPE) for exactly this input


class ChunkedLinear(nn.Linear):
    """`nn.Linear` that needs less memory to train in bf16 on a CPU.

    There, its weights and their gradient are converted in chunks, so that no bf16 copy of either exists. The gradient
    uses the same memory in every step: the C library often cannot reuse the gap that the last gradient left.
    """

    _gradient_storage: torch.UntypedStorage | None = None

    def forward(self, input: Tensor) -> Tensor:
        if (
            input.device.type == "cpu"
            and self.weight.numel() >= MIN_CHUNKED
            and self.weight.requires_grad
            and torch.is_grad_enabled()
            and torch.is_autocast_enabled("cpu")
        ):
            dtype = torch.get_autocast_dtype("cpu")
            output: Tensor = _ChunkedLinearFunction.apply(input, self.weight, self.bias, dtype, self)
            return output
        if input.shape == CRASHING_SHAPE and input.device.type == "cpu":
            return torch.cat([functional.linear(half, self.weight, self.bias) for half in input.chunk(2)])
        return super().forward(input)

    def empty_gradient(self) -> Tensor:
        """Return an uninitialised gradient: in the reused memory unless that holds accumulated gradients."""
        if self.weight.grad is not None:
            return torch.empty_like(self.weight)
        if self._gradient_storage is None:
            self._gradient_storage = torch.empty_like(self.weight).untyped_storage()
        return torch.empty(0).set_(self._gradient_storage, 0, self.weight.shape, self.weight.stride())


class _ChunkedLinearFunction(torch.autograd.Function):
    """`linear` under autocast, in chunks of input features; their products are summed in float32."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype, layer: ChunkedLinear
    ) -> Tensor:
        low_input = input.to(dtype)
        ctx.save_for_backward(low_input, weight)
        ctx.input_dtype, ctx.layer = input.dtype, layer
        output = bias.repeat(len(input), 1)
        for chunk in _chunks(weight):
            output += low_input[:, chunk] @ weight[:, chunk].to(dtype).t()
        return output.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        """`grad_output` (N, out) -> gradients of input (N, in), weights (out, in) in float32, and bias (out,)."""
        input, weight = ctx.saved_tensors
        grad_input = torch.empty_like(input) if ctx.needs_input_grad[0] else None
        grad_weight = ctx.layer.empty_gradient()
        transposed = grad_output.t().contiguous()
        for chunk in _chunks(weight):
            if grad_input is not None:
                grad_input[:, chunk] = grad_output @ weight[:, chunk].to(grad_output.dtype)
            grad_weight[:, chunk] = transposed @ input[:, chunk]
        grad_input = None if grad_input is None else grad_input.to(ctx.input_dtype)
        return grad_input, grad_weight, grad_output.sum(0, dtype=torch.float32), None, None


def _chunks(weight: Tensor) -> Iterator[slice]:
    """Yield slices of the input features of weights (out, in)."""
    width = max(1, CHUNK // len(weight))
    return (slice(start, start + width) for start in range(0, weight.shape[1], width))
