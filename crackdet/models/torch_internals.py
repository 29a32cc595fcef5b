"""The private parts of torch that crackdet uses; `tests/models/test_torch_internals.py` says what each one is for."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._triton import has_triton

__all__ = ["OperatorMode", "has_triton", "is_batchnorm", "is_compiled", "storage_id", "without_compiler"]

WRAPPED_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")  # of optimizers, besides `step`


class OperatorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Base class of contexts in which `call` runs each operator of torch; does not import torch's compiler."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports its compiler to exclude `__torch_dispatch__` from compilation

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return func(*args, **kwargs)
        with self:
            decomposed = func.decompose(*args, **kwargs)
        return self.call(func, args, kwargs) if decomposed is NotImplemented else decomposed

    def call(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the operator's result; operators that decompose into others arrive as these."""
        return operator(*args, **kwargs)


@cache
def without_compiler(optimizer: type[optim.Optimizer]) -> Callable[..., optim.Optimizer]:
    """Return the optimizer class without the wrappers for torch's compiler, hooks and profiler; computes the same.

    The wrappers import the compiler, which takes half as long as importing torch.
    """
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in WRAPPED_METHODS}
    return type(optimizer.__name__, (optimizer,), {**methods, "step": torch.no_grad()(inspect.unwrap(optimizer.step))})


def is_compiled(module: nn.Module) -> bool:
    """Return whether `module.compile()` was called."""
    return module._compiled_call_impl is not None


def is_batchnorm(module: nn.Module) -> bool:
    """Return whether a module is batch normalisation of any dimension, synchronised or not."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def storage_id(tensor: Tensor) -> int:
    """Return a number that tensors share if they share memory; unlike `data_ptr()`, also on the meta device."""
    return int(tensor.untyped_storage()._cdata)
