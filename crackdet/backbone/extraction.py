"""Extract the part of a feature extractor that computes its stage maps, and probe that part."""

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor

from crackdet.backbone.description import FeatureMap
from crackdet.core.errors import UserError, first_line
from crackdet.models.flops import MetaFlopCounter
from crackdet.models.intermediates import Intermediates, declares_stages, detector_stride
from crackdet.models.stage import Stage

PROBE = (192, 320)  # height and width in pixels: detector images are neither square nor of the training size
UNEVEN = (197, 331)  # pixels; no stride divides these numbers
MIN_FLOP_SHARE = 0.5  # of the feature extractor


def extract_body(feature_extractor: nn.Module, stages: Sequence[Stage], size_multiple: int = 1) -> nn.Module:
    """Return a module that computes only the map of each stage, by number ("0" is the finest).

    Args:
        feature_extractor: The network, which may be changed in place.
        stages: Its stages.
        size_multiple: A network that declares its stages gets images padded to multiples of so many pixels.

    Raises:
        UserError: If torch.fx cannot trace the network.
    """
    if declares_stages(feature_extractor):
        return Intermediates(feature_extractor, size_multiple)
    names = {stage.name: str(number) for number, stage in enumerate(stages)}
    try:
        body: fx.GraphModule = create_feature_extractor(feature_extractor, names, suppress_diff_warning=True)
    except Exception as error:  # a user's network may do anything in its forward pass
        raise UserError(
            f"the network cannot be traced by torch.fx ({first_line(error)}); "
            "no branch in its forward pass may depend on the values or the size of its input"
        ) from None
    return body


def ordered_maps(maps: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the body's maps in stage order: the body returns them in the order of computation."""
    return [maps[str(number)] for number in range(len(maps))]


def to_nchw(tensor: Tensor, stage: FeatureMap) -> Tensor:
    """Return a stage's output as (N, C, H, W)."""
    return tensor.permute(0, 3, 1, 2) if stage.channels_last else tensor


def find_size_multiple(body: nn.Module, stages: Sequence[Stage]) -> int:
    """Return the number of pixels whose multiples a network accepts as the sides of images: 1 or the largest stride."""
    try:
        _run_on_meta(copy.deepcopy(body).eval().to("meta"), *UNEVEN)
    except Exception:  # whatever a network raises for an unsupported size
        return max(stage.stride for stage in stages)
    return 1


def check_forward(body: nn.Module, name: str) -> None:
    """Raise UserError if a network fails on an image that is not square, which the meta device may not show."""
    try:
        with torch.no_grad():
            body.eval()(torch.zeros(1, 3, *UNEVEN))
    except Exception as error:  # whatever a network raises
        raise UserError(
            f"{name}: fails on images that are not square ({first_line(error)}), which a detector has; "
            "export another network"
        ) from None


def probe_maps(body: nn.Module, stages: Sequence[Stage], name: str) -> tuple[list[FeatureMap], int]:
    """Return the layout of each map, and the smallest image side in pixels that the network accepts.

    Raises:
        UserError: If the network accepts images of one size only, or a map is not what its stage says.
    """
    body = copy.deepcopy(body).eval().to("meta")
    try:
        outputs = ordered_maps(_run_on_meta(body, *PROBE))
    except Exception:  # whatever a network raises for an unsupported size
        raise UserError(
            f"{name}: accepts square images of one size only, but detector images vary in size; "
            "export a network that accepts images of any size"
        ) from None
    maps = []
    for stage, tensor in zip(stages, outputs, strict=True):
        if tensor.ndim != 4 or stage.channels not in (tensor.shape[1], tensor.shape[3]):
            raise UserError(
                f"{name}: {stage.name} returns a tensor of shape {tuple(tensor.shape)}; "
                f"it must return a feature map with {stage.channels} channels"
            )
        expected = detector_stride(stage.stride) if isinstance(body, Intermediates) else stage.stride
        feature_map = FeatureMap(stage.name, stage.channels, expected, tensor.shape[1] != stage.channels)
        height, width = to_nchw(tensor, feature_map).shape[2:]
        stride = (PROBE[1] - PROBE[0]) / max(width - height, 1)
        if not 0.7 < stride / expected < 1.4:  # a small map's size is rounded to whole cells
            raise UserError(f"{name}: {stage.name} returns a map of stride {stride:.3g}, expected {expected}")
        maps.append(feature_map)
    for side in range(stages[-1].stride, PROBE[0]):
        with contextlib.suppress(Exception):
            _run_on_meta(body, side, side)
            return maps, side
    return maps, PROBE[0]


def check_flop_share(body: nn.Module, feature_extractor: nn.Module, image_size: int, name: str) -> None:
    """Raise UserError if most operations of a network are outside its body, as in torchvision's transformers."""
    try:  # small images would overstate the share of linear layers
        share = _count_flops(body, 224) / max(_count_flops(feature_extractor, 224), 1)
    except Exception:  # the network accepts another size only
        share = _count_flops(body, image_size) / max(_count_flops(feature_extractor, image_size), 1)
    if share < MIN_FLOP_SHARE:
        raise UserError(
            f"{name}: only {share:.0%} of its operations compute feature maps. A detector uses only the feature "
            "maps; export a convolutional network"
        )


def freeze_stages(body: nn.Module, trainable_stages: int) -> None:
    """Freeze the parameters of all but the last `trainable_stages` stages."""
    if isinstance(body, Intermediates):
        body.freeze(trainable_stages)
        return
    assert isinstance(body, fx.GraphModule)
    maps: Any = body.graph.output_node().args[0]
    ends = list(maps.values())
    frozen = len(ends) - trainable_stages
    for node in body.graph.nodes:
        if frozen <= 0:
            return
        if node.op == "call_module":
            body.get_submodule(node.target).requires_grad_(False)
        elif node.op == "get_attr":
            parent, _, attribute = node.target.rpartition(".")
            tensor = getattr(body.get_submodule(parent), attribute)
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(False)
        frozen -= ends.count(node)


def _run_on_meta(module: nn.Module, height: int, width: int) -> Any:
    with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # torch.fx modules print when they raise
        return module(torch.empty(1, 3, height, width, device="meta"))


def _count_flops(module: nn.Module, side: int) -> int:
    module = copy.deepcopy(module).eval().to("meta")
    with (counter := MetaFlopCounter()):
        _run_on_meta(module, side, side)
    return counter.flops
