"""The feature maps of networks that declare them, as all networks of timm do: in `feature_info`.

torch.fx cannot trace many of these networks, and in transformers no module outputs a map: `forward_intermediates`
returns the maps of all of them alike.
"""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from crackdet.core.errors import UserError
from crackdet.models.stage import Stage

log = logging.getLogger(__name__)

TOLERANCE = (0.7, 1.4)  # of a measured stride: a small map's size is rounded to whole cells
UNKNOWN_SIZE = 224  # pixels


def declares_stages(network: nn.Module) -> bool:
    return hasattr(network, "forward_intermediates") and hasattr(network, "feature_info")


def declared_stages(network: nn.Module) -> dict[int, Stage]:
    """Return the last map of each resolution by its number among the declared ones, finest first.

    Strides and channels are measured on an image of the size that the network was published for; what is declared
    otherwise is reported and corrected.
    """
    declared = _feature_info(network)
    maps = _measure(network)
    modules = [str(each["module"]) for each in declared]
    found: dict[int, tuple[int, Stage]] = {}
    for number, each in enumerate(declared):
        channels, stride = int(each["num_chs"]), int(each["reduction"])
        if maps is not None and number < len(maps):
            measured_channels, measured = maps[number]
            if measured_channels != channels or not TOLERANCE[0] < measured / stride < TOLERANCE[1]:
                log.warning(
                    "%s: timm declares %d channels and stride %d, but its map has %d channels and stride %.3g",
                    modules[number], channels, stride, measured_channels, measured,
                )  # fmt: skip
                channels, stride = measured_channels, round(measured)
        name = modules[number]
        if not name or modules.count(name) > 1:
            name = f"{name or 'map'}[{number}]"
        found[stride] = (number, Stage(name, channels, stride))
    return {number: stage for _, (number, stage) in sorted(found.items())}


def detector_stride(stride: int) -> int:
    """Return the power of two that is next to a stride: detectors assume one (torchvision's `MultiScaleRoIAlign`)."""
    return int(2 ** round(float(torch.tensor(float(stride)).log2())))


class Intermediates(nn.Module):
    """Images (N, 3, H, W) -> the map of each stage, by number ("0" is the finest), at strides that are powers of two.

    Args:
        network: One that declares its stages; what comes after the last map is removed from it.
        multiple: Images are padded to multiples of so many pixels, and the maps cropped to the images.

    Raises:
        UserError: If the network cannot return its maps.
    """

    def __init__(self, network: Any, multiple: int = 1) -> None:
        super().__init__()
        self.network = network
        self.multiple = max(1, multiple)
        stages = declared_stages(network)
        if not stages:
            raise UserError("the network declares no feature maps")
        self.stages = list(stages.values())
        self.is_plain = len(self.stages) == 1  # a vision transformer, whose last normalisation belongs to the map
        try:
            self.network.prune_intermediate_layers(list(stages), prune_norm=not self.is_plain, prune_head=True)
        except (AttributeError, NotImplementedError, TypeError) as error:
            raise UserError(f"the network cannot return its feature maps ({error})") from None
        self.indices = list(stages)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        height, width = images.shape[-2:]
        if self.multiple > 1:
            images = pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        maps = self.network.forward_intermediates(
            images, indices=self.indices, norm=self.is_plain, output_fmt="NCHW", intermediates_only=True
        )
        found = {}
        for number, (stage, features) in enumerate(zip(self.stages, maps, strict=True)):
            stride = detector_stride(stage.stride)
            if stride != stage.stride:
                features = _resample(features, stage.stride / stride)
            if self.multiple > 1 or stride != stage.stride:
                features = features[..., : -(-height // stride), : -(-width // stride)]
            found[str(number)] = features
        return found

    def freeze(self, trainable_stages: int) -> None:
        """Freeze the parameters of all but the last `trainable_stages` stages, and those before the first."""
        frozen = len(self.stages) - trainable_stages
        if frozen <= 0:
            return
        names = [name for name, _ in self.network.named_modules()]
        last = str(_feature_info(self.network)[self.indices[frozen - 1]]["module"])
        end = max((at for at, name in enumerate(names) if f"{name}.".startswith(f"{last}.")), default=len(names))
        for name in names[: end + 1] if trainable_stages else names:
            for parameter in self.network.get_submodule(name).parameters(recurse=False):
                parameter.requires_grad_(False)


def _feature_info(network: nn.Module) -> Sequence[dict[str, Any]]:
    info: Any = network.feature_info
    return list(info) if isinstance(info, list) else list(info.info)


@torch.no_grad()
def _measure(network: nn.Module) -> list[tuple[int, float]] | None:
    """Return channels and stride of each declared map, on the meta device; None if the network needs values."""
    published: Any = getattr(network, "pretrained_cfg", {})
    height, width = published.get("input_size", (3, UNKNOWN_SIZE, UNKNOWN_SIZE))[1:]
    on_meta: Any = copy.deepcopy(network).eval().to("meta")
    try:
        images = torch.empty(1, 3, height, width, device="meta")
        maps = on_meta.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)
    except Exception:  # whatever a network raises
        return None
    return [(each.shape[1], width / each.shape[3]) for each in maps]


def _resample(features: Tensor, scale: float) -> Tensor:
    """Return a map with another stride; cells are added at the end, so that the whole image stays covered."""
    padded = pad(features, (0, 2, 0, 2), mode="replicate")
    return interpolate(padded, scale_factor=scale, mode="bilinear", recompute_scale_factor=False)
