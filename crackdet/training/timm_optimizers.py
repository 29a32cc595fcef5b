"""Optimizers of timm.optim by name, if a resumed run can go on with them exactly."""

import copy
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn, optim

from crackdet.config.messages import suggest
from crackdet.config.optimization import TimmOptimizer
from crackdet.core.errors import UserError, first_line

COMPILED = ("kron", "kronc", "kronw")  # by torch.compile, which needs a compiler and takes minutes
CHECK_STEPS = 6  # before and after resuming; several, because some optimizers do not update their state at each step


def create_optimizer(settings: TimmOptimizer, trained: list[Any]) -> optim.Optimizer:
    """Return an optimizer of parameters or of groups of them.

    Raises:
        UserError: If timm is not installed or has no such optimizer, or the optimizer does not take the arguments,
            needs second derivatives, or does not go on exactly from its saved state.
    """
    name = f"optimizer.name={settings.name}"
    try:
        from timm.optim import get_optimizer_info, list_optimizers
    except ImportError:
        raise UserError("optimizer=timm: needs timm; run uv pip install -e '.[timm]'") from None
    names = list_optimizers()
    if settings.name not in names:
        raise UserError(f"{name}: timm has no such optimizer{suggest(settings.name, names)}")
    if get_optimizer_info(settings.name).second_order:
        raise UserError(f"{name}: needs second derivatives, which training does not compute; choose another optimizer")
    if settings.name in COMPILED:
        raise UserError(f"{name}: is compiled at its first step, which takes minutes; choose another optimizer")
    try:
        resumes = _resumes_exactly(settings)
        optimizer = _create(settings, trained)
    except Exception as error:  # an optimizer may check its arguments in any way
        arguments = f", optimizer.arguments={settings.arguments}" if settings.arguments else ""
        raise UserError(f"{name}{arguments}: cannot be used ({first_line(error)})") from None
    if not resumes:
        raise UserError(
            f"{name}: does not go on exactly from its saved state, so that a resumed run would end otherwise; choose "
            "another optimizer"
        )
    return optimizer


def _create(settings: TimmOptimizer, trained: Iterable[Any]) -> optim.Optimizer:
    from timm.optim import create_optimizer_v2

    arguments = copy.deepcopy(settings.arguments)
    optimizer: optim.Optimizer = create_optimizer_v2(
        trained, settings.name, settings.learning_rate, settings.weight_decay, **arguments
    )
    return optimizer


def _resumes_exactly(settings: TimmOptimizer) -> bool:
    """Return whether an optimizer that loads a saved state computes what the saved one goes on to compute."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((6, 5), (5,), (4, 3, 3, 3))
    initial = [torch.randn(shape, generator=generator) for shape in shapes]
    gradients = [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2 * CHECK_STEPS)]

    def start() -> tuple[list[nn.Parameter], optim.Optimizer]:
        parameters = [nn.Parameter(value.clone()) for value in initial]
        return parameters, _create(settings, parameters)

    def advance(parameters: list[nn.Parameter], optimizer: optim.Optimizer, steps: list[list[torch.Tensor]]) -> None:
        for step in steps:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parameters, optimizer = start()
        advance(parameters, optimizer, gradients[:CHECK_STEPS])
        saved = copy.deepcopy(optimizer.state_dict())
        resumed, other = start()
        for parameter, value in zip(resumed, parameters, strict=True):
            parameter.data.copy_(value.data)
        other.load_state_dict(saved)
        random_state = torch.get_rng_state()
        advance(parameters, optimizer, gradients[CHECK_STEPS:])
        torch.set_rng_state(random_state)  # the state of a run has that of torch
        advance(resumed, other, gradients[CHECK_STEPS:])
    return all(map(torch.equal, parameters, resumed))
