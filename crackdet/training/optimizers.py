"""Optimizer and learning-rate scheduler of a configuration."""

import torch
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from crackdet.config.optimization import SGD, Adam, AdamW, Cosine, Optimizer, Plateau, Scheduler, Step, TimmOptimizer
from crackdet.config.schema import MONITORS, Config
from crackdet.models.torch_internals import without_compiler
from crackdet.training.param_groups import param_groups

WARMUP_START = 0.01  # of the learning rate, as in torchvision's references/classification

_known_slots: dict[str, float] = {}


def build_optimizer(settings: Optimizer, model: nn.Module) -> optim.Optimizer:
    """Return the optimizer of the parameters that are not frozen.

    Raises:
        UserError: If it is one of timm's that timm does not have, that does not take the arguments, or that cannot
            be resumed.
    """
    trained = param_groups(settings, model)
    if isinstance(settings, TimmOptimizer):
        from crackdet.training.timm_optimizers import create_optimizer  # takes seconds

        return create_optimizer(settings, trained)
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if isinstance(settings, SGD):
        return without_compiler(optim.SGD)(trained, **common, momentum=settings.momentum, nesterov=settings.nesterov)
    assert isinstance(settings, Adam)
    adam = optim.AdamW if isinstance(settings, AdamW) else optim.Adam
    return without_compiler(adam)(trained, **common, betas=(settings.beta1, settings.beta2), eps=settings.eps)


def check_optimizer(settings: Optimizer) -> None:
    """Raise UserError as `build_optimizer`."""
    optimizer_slots(settings)


def optimizer_kind(settings: Optimizer) -> str:
    """Return text that optimizers share if one of them can be used only if all can."""
    return repr((type(settings), settings.name, settings.arguments if isinstance(settings, TimmOptimizer) else None))


def optimizer_slots(settings: Optimizer) -> float:
    """Return how many numbers the optimizer stores per trained weight, as its first step on one matrix shows."""
    key = repr(settings)
    if key not in _known_slots:
        matrix = nn.Parameter(torch.ones(256, 256))
        matrix.grad = torch.ones_like(matrix)
        optimizer = build_optimizer(settings, nn.ParameterList([matrix]))
        optimizer.step()
        state = (value for values in optimizer.state.values() for value in values.values())
        stored = sum(value.nbytes for value in state if isinstance(value, Tensor) and value.ndim)
        _known_slots[key] = stored / matrix.nbytes
    return _known_slots[key]


def build_scheduler(config: Config, optimizer: optim.Optimizer) -> lr_scheduler.LRScheduler:
    """Return the scheduler, to be stepped after each epoch (`plateau` with the monitored value)."""
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


def warmup_factor(settings: Scheduler, step: int, steps_per_epoch: int) -> float:
    """Return the factor of the learning rate at an optimizer step, counted from 0 over all epochs.

    It rises linearly, as torch's `LinearLR`, and multiplies the rate that the scheduler gives (Goyal et al. 2017).
    """
    if settings.warmup_epochs is None:
        return 1.0
    start = WARMUP_START if settings.warmup_start_fraction is None else settings.warmup_start_fraction
    return min(1.0, start + (1 - start) * step / (settings.warmup_epochs * steps_per_epoch))


def depends_on_max_epochs(config: Config) -> bool:
    """Return whether a larger `max_epochs` changes the schedule from the first epoch, so that training must restart."""
    return isinstance(config.scheduler, Cosine)
