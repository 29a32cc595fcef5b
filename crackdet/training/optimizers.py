"""Optimizer and learning-rate schedule from their configuration."""

import inspect
from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import nn, optim
from torch.optim import lr_scheduler

from crackdet.config.schema import MONITORS, SGD, Adam, AdamW, Config, Cosine, Optimizer, Plateau, Step

GUARDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")  # from being compiled


def build_optimizer(settings: Optimizer, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The optimizer over those parameters that are trained."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if isinstance(settings, SGD):
        momentum = {"momentum": settings.momentum, "nesterov": settings.nesterov}
        return _without_compiler(optim.SGD)(trained, **common, **momentum)
    assert isinstance(settings, Adam)
    kind = optim.AdamW if isinstance(settings, AdamW) else optim.Adam
    betas = (settings.beta1, settings.beta2)
    return _without_compiler(kind)(trained, **common, betas=betas, eps=settings.eps)


@cache
def _without_compiler(kind: type[optim.Optimizer]) -> Callable[..., optim.Optimizer]:
    """An optimizer of torch whose methods do not ask torch's compiler whether it compiles them.

    Asking imports the compiler, which takes half as long as to import torch. The numbers are the same.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in GUARDED}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})


def build_scheduler(
    config: Config, optimizer: optim.Optimizer
) -> lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau:
    """The schedule, to be stepped after each epoch (a plateau schedule with the monitored value)."""
    match config.scheduler:
        case Cosine() as cosine:
            lowest = config.optimizer.learning_rate * cosine.final_fraction
            return lr_scheduler.CosineAnnealingLR(optimizer, config.trainer.max_epochs, eta_min=lowest)
        case Step() as step:
            return lr_scheduler.StepLR(optimizer, step.step_size, step.gamma)
        case Plateau() as plateau:
            mode = MONITORS[config.trainer.monitor]
            return lr_scheduler.ReduceLROnPlateau(optimizer, mode, plateau.factor, plateau.patience)
    return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def depends_on_max_epochs(config: Config) -> bool:
    """Whether the schedule depends on `max_epochs`, so that a longer training differs from its first epoch on."""
    return isinstance(config.scheduler, Cosine)
