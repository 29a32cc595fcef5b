"""Optimizer and learning-rate scheduler of a configuration."""

from collections.abc import Iterable

from torch import nn, optim
from torch.optim import lr_scheduler

from crackdet.config.schema import MONITORS, SGD, Adam, AdamW, Config, Cosine, Optimizer, Plateau, Step
from crackdet.models.torch_internals import without_compiler


def build_optimizer(settings: Optimizer, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """Return the optimizer of the parameters that are not frozen."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if isinstance(settings, SGD):
        return without_compiler(optim.SGD)(trained, **common, momentum=settings.momentum, nesterov=settings.nesterov)
    assert isinstance(settings, Adam)
    adam = optim.AdamW if isinstance(settings, AdamW) else optim.Adam
    return without_compiler(adam)(trained, **common, betas=(settings.beta1, settings.beta2), eps=settings.eps)


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


def depends_on_max_epochs(config: Config) -> bool:
    """Return whether a larger `max_epochs` changes the schedule from the first epoch, so that training must restart."""
    return isinstance(config.scheduler, Cosine)
