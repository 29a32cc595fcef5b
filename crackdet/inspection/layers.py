"""Find the convolutional stages of a network, and capture their feature maps."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from crackdet.core.errors import UserError
from crackdet.models.classifier import Classifier
from crackdet.models.custom import CustomFeatures
from crackdet.models.intermediates import declared_stages, declares_stages

MIN_CELLS = 4  # a side: a smaller map cannot localise anything


@dataclass(frozen=True)
class Layer:
    """A module of the feature extractor whose maps can be captured."""

    name: str  # as the user writes it
    module: str  # within the feature extractor
    channels: int
    rectified: bool = False  # followed by a ReLU, which is applied to captured maps
    number: int | None = None  # among the maps that a network of timm declares


def find_layers(model: Classifier) -> list[Layer]:
    """Return each convolution of a custom network, or the last stage of each resolution of any other network.

    Raises:
        UserError: If the network has no feature maps.
    """
    extractor = model.feature_extractor
    if isinstance(extractor, CustomFeatures):
        convolutions = [(name, m) for name, m in extractor.named_modules() if isinstance(m, nn.Conv2d)]
        return [Layer(f"conv{n}", name, m.out_channels, True) for n, (name, m) in enumerate(convolutions, 1)]
    if declares_stages(extractor):
        declared = declared_stages(extractor)
        return [Layer(each.name, each.name, each.channels, number=number) for number, each in declared.items()]
    layers = [Layer(stage.name, stage.name, stage.channels) for stage in model.stages()]
    if not layers:
        raise UserError("this network has no feature maps: no module returns a map of the image")
    return layers


def deepest_layer(model: Classifier) -> Layer:
    """Return the deepest stage whose maps still have enough cells at the run's image size.

    Channels-last stages, as in Swin, are ignored: captum averages gradients over dimensions 2 and 3.

    Raises:
        UserError: If there is no such stage.
    """
    size = model.image_size
    stages = [Layer(stage.name, stage.name, stage.channels) for stage in model.stages()]
    blank = torch.zeros(1, 3, size, size, device=next(model.parameters()).device)
    maps = capture(model, stages, blank, permute=False)
    for stage in reversed(stages):
        if stage.name in maps and min(maps[stage.name].shape[2:]) >= MIN_CELLS:
            return stage
    if not maps:
        raise UserError("no module of this network outputs channels-first maps, as in vision transformers")
    raise UserError(
        f"on images of {size} pixels this network has no channels-first maps of at least {MIN_CELLS} x {MIN_CELLS} "
        "cells; train it with a larger data.image_size"
    )


@torch.no_grad()
def capture(model: Classifier, layers: Sequence[Layer], images: Tensor, permute: bool = True) -> dict[str, Tensor]:
    """Return the maps (N, C, H, W) of each layer by name, for images (N, 3, S, S) in [0, 1].

    Channels-last maps are permuted or left out. Hooks are used since a user's network may not be traceable; modules of
    timm's transformers output no maps, but the network does.
    """
    maps: dict[str, Tensor] = {}
    if permute and layers and all(layer.number is not None for layer in layers):
        network: Any = model.feature_extractor
        pixels, numbers = (images - model.input_mean) / model.input_std, [layer.number for layer in layers]
        found = network.forward_intermediates(pixels, indices=numbers, output_fmt="NCHW", intermediates_only=True)
        return dict(zip((layer.name for layer in layers), found, strict=True))

    def hook(layer: Layer, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:  # tokens
            return
        channels_last = output.shape[1] != layer.channels
        if channels_last and not permute:
            return
        values = output.permute(0, 3, 1, 2) if channels_last else output
        # clone: an in-place ReLU may follow
        maps[layer.name] = values.clamp(min=0) if layer.rectified else values.clone()

    modules = dict(model.feature_extractor.named_modules())
    with ExitStack() as hooks:
        for layer in layers:
            if (module := modules.get(layer.module)) is None:  # several maps come from one module
                continue
            hooks.enter_context(module.register_forward_hook(partial(hook, layer)))
        model.features(images)
    return maps
