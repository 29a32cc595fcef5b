"""Parameter groups of an optimizer: learning rates by depth, and parameters without weight decay."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn, optim

from crackdet.config.optimization import Optimizer
from crackdet.models.factory import PREFIX
from crackdet.models.layers import parameter_layers


def param_groups(settings: Optimizer, model: nn.Module) -> list[Any]:
    """Return the trained parameters, or groups of them, the head's first.

    A group has timm's key `lr_scale`, the factor of its learning rate: `layer_decay` to the power of the number of
    layers above, as in BEiT (Bao et al. 2022) and timm's `param_groups_layer_decay`. With `backbone_learning_rate`,
    this is the rate of the uppermost layer of the feature extractor.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    differ = settings.layer_decay is not None or settings.backbone_learning_rate is not None
    if not differ and settings.decay_norm_and_bias is not False:
        return list(trained.values())
    scales = _scales(settings, model) if differ else {}
    undecayed = _undecayed(model) if settings.decay_norm_and_bias is False else set()
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name in sorted(trained, key=lambda name: name.startswith(PREFIX)):  # stable: the head comes first
        parameter, scale = trained[name], scales.get(name, 1.0)
        decays = name not in undecayed
        weight_decay = settings.weight_decay if decays else 0.0
        group = groups.setdefault((scale, decays), {"params": [], "lr_scale": scale, "weight_decay": weight_decay})
        group["params"].append(parameter)
    return list(groups.values())


@contextmanager
def scaled_rates(optimizer: optim.Optimizer, factor: float) -> Iterator[None]:
    """Multiply the learning rate of each group by its `lr_scale` and by a factor; restore it for the scheduler."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] *= group.get("lr_scale", 1.0) * factor
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _scales(settings: Optimizer, model: nn.Module) -> dict[str, float]:
    """Return the factor of the learning rate of each parameter of the feature extractor."""
    backbone, decay = getattr(model, "feature_extractor", None), settings.layer_decay or 1.0
    if backbone is None:  # a head on frozen features
        return {}
    top = decay
    if settings.backbone_learning_rate is not None:
        top = settings.backbone_learning_rate / settings.learning_rate
    layers = parameter_layers(backbone)
    scales = {PREFIX + name: top for name, _ in backbone.named_parameters()} if decay == 1 else {}
    for above, layer in enumerate(reversed(layers)):
        scales |= {PREFIX + name: top * decay**above for name in layer}
    return scales


def _undecayed(model: nn.Module) -> set[str]:
    """Return the parameters that timm excludes from weight decay: vectors, and those that a network names itself."""
    names = {name for name, parameter in model.named_parameters() if parameter.ndim <= 1}
    for prefix, module in model.named_modules():
        own = getattr(module, "no_weight_decay", None)
        if callable(own):
            names |= {f"{prefix}.{name}".lstrip(".") for name in own()}
    return names
