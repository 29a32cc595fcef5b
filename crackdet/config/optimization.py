"""The settings of the optimizers and of the learning-rate schedulers."""

from dataclasses import dataclass
from typing import Any

from crackdet.config.fields import MISSING, field


@dataclass
class Optimizer:
    name: str = MISSING
    learning_rate: float = field(1e-4, gt=0)
    weight_decay: float = field(0.0, ge=0)
    backbone_learning_rate: float | None = field(None, gt=0)  # rate of the feature extractor; null: learning_rate
    layer_decay: float | None = field(None, gt=0, le=1)  # factor of the learning rate from each layer to the one below
    decay_norm_and_bias: bool | None = None  # false: no weight decay on biases and normalization layers; null: true


@dataclass
class Adam(Optimizer):
    name: str = field("adam", choices=("adam",))
    beta1: float = field(0.9, ge=0, lt=1)
    beta2: float = field(0.999, ge=0, lt=1)
    eps: float = field(1e-8, gt=0)


@dataclass
class AdamW(Adam):
    name: str = field("adamw", choices=("adamw",))
    weight_decay: float = field(0.01, ge=0)


@dataclass
class SGD(Optimizer):
    name: str = field("sgd", choices=("sgd",))
    learning_rate: float = field(0.01, gt=0)
    momentum: float = field(0.9, ge=0, lt=1)
    nesterov: bool = False


@dataclass
class TimmOptimizer(Optimizer):
    """Any optimizer of timm.optim by name."""

    library: str = field("timm", choices=("timm",))  # distinguishes timm's sgd from torch's
    name: str = "lion"
    arguments: dict[str, Any] = field(dict)  # further arguments of the optimizer's class, such as betas


@dataclass
class Scheduler:
    name: str = MISSING
    warmup_epochs: float | None = field(None, gt=0)  # length of the linear warm-up; null: no warm-up
    warmup_start_fraction: float | None = field(None, ge=0, lt=1)  # share of the rate at its first step; null: 0.01


@dataclass
class Constant(Scheduler):
    name: str = field("constant", choices=("constant",))


@dataclass
class Cosine(Scheduler):
    name: str = field("cosine", choices=("cosine",))
    final_fraction: float = field(0.0, ge=0, le=1)  # of the learning rate, after max_epochs


@dataclass
class Step(Scheduler):
    name: str = field("step", choices=("step",))
    step_size: int = field(10, ge=1)  # epochs
    gamma: float = field(0.1, gt=0, le=1)


@dataclass
class Plateau(Scheduler):
    name: str = field("plateau", choices=("plateau",))
    factor: float = field(0.1, gt=0, lt=1)
    patience: int = field(3, ge=0)  # epochs without a better trainer.monitor
