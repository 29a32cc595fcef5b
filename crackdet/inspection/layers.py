"""The convolutional stages of a network, and what they answer to images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crackdet.core.errors import UserError
from crackdet.models.classifier import Classifier
from crackdet.models.custom import CustomFeatures

FEWEST_CELLS = 4  # on a side of a map: less than that points nowhere


@dataclass(frozen=True)
class Layer:
    """A place in the feature extractor whose maps can be looked at."""

    name: str  # as a user writes it
    module: str  # within the feature extractor
    channels: int
    rectified: bool = False  # a ReLU follows, so that what is below zero goes no further


def layers_of(model: Classifier) -> list[Layer]:
    """Each convolution of the article's network; of any other the stages that it ends a resolution with.

    Raises:
        UserError: for a network without maps.
    """
    extractor = model.feature_extractor
    if isinstance(extractor, CustomFeatures):
        convolutions = [(name, m) for name, m in extractor.named_modules() if isinstance(m, nn.Conv2d)]
        return [Layer(f"conv{n}", name, m.out_channels, True) for n, (name, m) in enumerate(convolutions, 1)]
    found = [Layer(stage.name, stage.name, stage.channels) for stage in model.stages()]
    if not found:
        raise UserError("this network has no feature maps: none of its modules gives a picture of the image")
    return found


def last_layer(model: Classifier) -> Layer:
    """The deepest stage whose maps still have places on an image of the run's size.

    Raises:
        UserError: where none has. Stages that keep their channels last, as Swin's, do not count: gradients are
            averaged over what is not channels, and those would be taken for places.
    """
    size = model.image_size
    stages = [Layer(stage.name, stage.name, stage.channels) for stage in model.stages()]
    maps = capture(model, stages, torch.zeros(1, 3, size, size, device=next(model.parameters()).device), turn=False)
    for stage in reversed(stages):
        if stage.name in maps and min(maps[stage.name].shape[2:]) >= FEWEST_CELLS:
            return stage
    raise UserError(
        f"on images of {size} pixels this network has no maps of {FEWEST_CELLS} cells a side, channels first, to find "
        "a place in; train it with a larger data.image_size"
    )


@torch.no_grad()
def capture(model: Classifier, layers: Sequence[Layer], images: Tensor, turn: bool = True) -> dict[str, Tensor]:
    """The maps (N, C, H, W) of each layer, by its name, for images (N, 3, S, S) in [0, 1].

    Maps with channels last, as Swin has them, are turned, or left out. Hooks are used rather than tracing, which a
    user's network with an `if` in its forward pass would not bear.
    """
    maps: dict[str, Tensor] = {}

    def keep(layer: Layer):  # type: ignore[no-untyped-def]
        def look(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            channels_last = output.shape[1] != layer.channels
            if channels_last and not turn:
                return
            values = output.permute(0, 3, 1, 2) if channels_last else output
            # a copy: a ReLU that works in place may come next
            maps[layer.name] = values.clamp(min=0) if layer.rectified else values.clone()

        return look

    extractor = model.feature_extractor
    handles = [extractor.get_submodule(layer.module).register_forward_hook(keep(layer)) for layer in layers]
    try:
        model.features(images)
    finally:
        for handle in handles:
            handle.remove()
    return maps
