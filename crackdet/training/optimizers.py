"""Optimizer and learning-rate schedule from their configuration."""

from collections.abc import Iterable

from torch import nn, optim
from torch.optim import lr_scheduler

from crackdet.schema import MONITORS, SGD, Adam, AdamW, Config, Cosine, Optimizer, Plateau, Step


def build_optimizer(settings: Optimizer, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The optimizer over those parameters that are trained."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    if isinstance(settings, SGD):
        return optim.SGD(trained, rate, settings.momentum, weight_decay=decay, nesterov=settings.nesterov, fused=True)
    assert isinstance(settings, Adam)
    kind = optim.AdamW if isinstance(settings, AdamW) else optim.Adam
    betas = (settings.beta1, settings.beta2)
    return kind(trained, rate, betas, settings.eps, weight_decay=decay, fused=True)


def build_scheduler(
    config: Config, optimizer: optim.Optimizer
) -> lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau:
    """The schedule, to be stepped after each epoch (a plateau schedule with the monitored value)."""
    match config.scheduler:
        case Cosine() as cosine:
            lowest = config.optimizer.learning_rate * cosine.final_fraction
            return lr_scheduler.CosineAnnealingLR(optimizer, config.trainer.max_epochs, eta_min=lowest)
        case Step() as step:
            return lr_scheduler.StepLR(optimizer, step.step_epochs, step.gamma)
        case Plateau() as plateau:
            mode = MONITORS[config.trainer.monitor]
            return lr_scheduler.ReduceLROnPlateau(optimizer, mode, plateau.factor, plateau.patience)
    return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def knows_its_length(config: Config) -> bool:
    """Whether the schedule depends on `max_epochs`, so that a longer training differs from its first epoch on."""
    return isinstance(config.scheduler, Cosine)
