"""Floating-point operations and output shapes of a forward pass on the meta device.

This does not import torch's compiler with its symbolic algebra, which takes two thirds as long as the rest of torch.
torch imports it to find the shapes of convolutions, poolings and ReLUs, and to count operations.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from crackdet.models.torch_internals import OperatorMode

aten = torch.ops.aten
Ints = Sequence[int]
Shape = tuple[int, ...] | None  # None leaves the operator to torch: unusual or invalid arguments


class MetaFlopCounter(OperatorMode):  # type: ignore[no-untyped-call]
    """A context that counts operations as `torch.utils.flop_counter.FlopCounterMode` does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def call(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = self._result(operator, args, kwargs)
        if (formula := flop_registry.get(operator.overloadpacket)) is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result

    def _result(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        find_shape = SHAPES.get(operator)
        tensors = [value for value in args if isinstance(value, Tensor)]
        is_usual = not kwargs and all(tensor.is_meta and tensor.dtype == torch.float32 for tensor in tensors)
        shape = find_shape(*args) if find_shape and is_usual else None
        if shape is None:
            return operator(*args, **kwargs)
        result = args[0].new_empty(shape)
        return (result, result.new_empty(shape, dtype=torch.int64)) if operator is MAX_POOL else result


def _pointwise(*tensors: Any) -> Shape:
    if not all(isinstance(t, Tensor) and t.is_contiguous() and t.ndim == tensors[0].ndim for t in tensors):
        return None
    sides = [{size for size in sizes if size != 1} for sizes in zip(*(t.shape for t in tensors), strict=True)]
    return None if any(len(sizes) > 1 for sizes in sides) else tuple(max(sizes, default=1) for sizes in sides)


def _convolution(*arguments: Any) -> Shape:
    images, weight, _, stride, padding, dilation, transposed, _, groups = arguments
    if not _is_plain(images) or not _is_plain(weight) or transposed or weight.shape[1] * groups != images.shape[1]:
        return None
    sides = _sides(images, weight.shape[2:], stride, padding, dilation)
    return None if sides is None else (len(images), len(weight), *sides)


def _max_pool(
    images: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = (0, 0), dilation: Ints = (1, 1), ceil: bool = False
) -> Shape:
    if not _is_plain(images) or ceil or any(2 * pad > size for pad, size in zip(padding, kernel, strict=False)):
        return None
    sides = _sides(images, kernel, stride or kernel, padding, dilation)
    return None if sides is None else (*images.shape[:2], *sides)


def _linear(bias: Tensor, rows: Tensor, columns: Tensor) -> Shape:
    shape = (len(rows), columns.shape[1])
    return shape if rows.shape[1] == len(columns) and bias.shape == shape[1:] else None


def _is_plain(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous()


def _sides(images: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int] | None:
    """Apply the formula of `torch.nn.Conv2d`; None if a side is not positive or a setting does not have two numbers."""
    if not len(kernel) == len(stride) == len(padding) == len(dilation) == 2:
        return None
    each = zip(images.shape[2:], kernel, stride, padding, dilation, strict=True)
    sides = [(side + 2 * pad - spread * (size - 1) - 1) // step + 1 for side, size, step, pad, spread in each]
    return sides if min(sides) > 0 else None


MAX_POOL = aten.max_pool2d_with_indices.default
SHAPES: dict[Any, Callable[..., Shape]] = {
    aten.relu.default: _pointwise,
    aten.sub.Tensor: _pointwise,
    aten.div.Tensor: _pointwise,
    aten.convolution.default: _convolution,
    MAX_POOL: _max_pool,
    aten.addmm.default: _linear,
}
