"""A forward pass on the meta device, for its shapes and its arithmetic, without torch's compiler.

There torch finds the shapes of convolutions, poolings and ReLUs in Python, and its counter of operations tells the
compiler to stay away: both import it, with symbolic algebra, which takes two thirds as long as the rest of torch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class MetaFlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within its block all gives what it gives without; counts as `torch.utils.flop_counter.FlopCounterMode` does."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0  # floating-point operations so far

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports the compiler, to keep it out of `__torch_dispatch__`

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return func(*args, **kwargs)
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = self._result(func, args, kwargs)
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result

    def _result(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        find = FOUND_HERE.get(func)
        tensors = [value for value in args if isinstance(value, Tensor)]
        usual = not kwargs and all(one.is_meta and one.dtype == torch.float32 for one in tensors)
        shape = find(*args) if find and usual else None
        if shape is None:
            return func(*args, **kwargs)
        result = args[0].new_empty(shape)
        return (result, result.new_empty(shape, dtype=torch.int64)) if func is POOLING else result


Shape = tuple[int, ...] | None  # None of what is left to torch: all that is unusual, and what it refuses


def _of_pointwise(*tensors: Any) -> Shape:
    if not all(isinstance(one, Tensor) and one.is_contiguous() and one.ndim == tensors[0].ndim for one in tensors):
        return None
    sides = [{size for size in sizes if size != 1} for sizes in zip(*(one.shape for one in tensors), strict=True)]
    return None if any(len(sizes) > 1 for sizes in sides) else tuple(max(sizes, default=1) for sizes in sides)


def _of_convolution(
    images: Tensor,
    weight: Tensor,
    _bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
) -> Shape:
    if not _is_plain(images) or not _is_plain(weight) or transposed or weight.shape[1] * groups != images.shape[1]:
        return None
    sides = _sides(images, weight.shape[2:], stride, padding, dilation)
    return None if sides is None else (len(images), len(weight), *sides)


def _of_pooling(
    images: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Shape:
    if not _is_plain(images) or ceil_mode or any(2 * pad > size for pad, size in zip(padding, kernel, strict=False)):
        return None
    sides = _sides(images, kernel, stride or kernel, padding, dilation)
    return None if sides is None else (*images.shape[:2], *sides)


def _of_linear(bias: Tensor, rows: Tensor, columns: Tensor) -> Shape:
    shape = (len(rows), columns.shape[1])
    return shape if rows.shape[1] == len(columns) and bias.shape == shape[1:] else None


def _is_plain(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous()


def _sides(
    images: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> list[int] | None:
    """By the formula of `torch.nn.Conv2d`; None where they would not be positive, or not each side has a number."""
    if not len(kernel) == len(stride) == len(padding) == len(dilation) == 2:
        return None
    each = zip(images.shape[2:], kernel, stride, padding, dilation, strict=True)
    sides = [(side + 2 * pad - spread * (size - 1) - 1) // step + 1 for side, size, step, pad, spread in each]
    return sides if min(sides) > 0 else None


POOLING = aten.max_pool2d_with_indices.default
FOUND_HERE: dict[Any, Callable[..., Shape]] = {
    aten.relu.default: _of_pointwise,
    aten.sub.Tensor: _of_pointwise,
    aten.div.Tensor: _of_pointwise,
    aten.convolution.default: _of_convolution,
    POOLING: _of_pooling,
    aten.addmm.default: _of_linear,
}
