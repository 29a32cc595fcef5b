"""A feature extractor -> the part of it that makes the maps of its stages, and what is to be known of that part."""

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor

from crackdet.backbone.description import Map
from crackdet.core.errors import UserError
from crackdet.models.classifier import Stage
from crackdet.models.flops import MetaFlopCounter

PROBE = (192, 320)  # pixels, height and width: a detector's images are neither square nor of the training's size
LEAST_SHARE = 0.5  # of the feature extractor's operations


def extract_body(feature_extractor: nn.Module, stages: Sequence[Stage]) -> fx.GraphModule:
    """The module that gives a map for each stage, by its number ("0" is the finest), and computes nothing else.

    Raises:
        UserError: where the network cannot be followed from the image to its stages.
    """
    names = {stage.name: str(number) for number, stage in enumerate(stages)}
    try:
        body: fx.GraphModule = create_feature_extractor(feature_extractor, names, suppress_diff_warning=True)
    except Exception as error:  # a user's network may do anything in its forward pass
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"the network cannot be followed from the image to its stages ({reason}); torch.fx has to be able to "
            "trace it: no branch in its forward pass may depend on the values or the size of its input"
        ) from None
    return body


def in_order(maps: Mapping[str, Tensor]) -> list[Tensor]:
    """What the module gives, stage by stage: it comes in the order in which it was computed."""
    return [maps[str(number)] for number in range(len(maps))]


def to_nchw(found: Tensor, stage: Map) -> Tensor:
    """A map as (N, C, H, W), whatever order of dimensions its module has."""
    return found.permute(0, 3, 1, 2) if stage.channels_last else found


def probe_maps(body: nn.Module, stages: Sequence[Stage], name: str) -> tuple[list[Map], int]:
    """The order of dimensions of each map, and the smallest image in pixels a side that gives them all.

    Raises:
        UserError: where the network takes images of one size only, as detectors do not have them.
    """
    body = copy.deepcopy(body).eval().to("meta")
    try:
        found = _maps(body, *PROBE)
    except Exception:  # whatever a network does on a size that it is not made for
        raise UserError(
            f"{name}: takes square images of one size only, and a detector's images have any size; "
            "export a network of convolutions"
        ) from None
    maps = []
    for stage, tensor in zip(stages, found, strict=True):
        if tensor.ndim != 4 or stage.channels not in (tensor.shape[1], tensor.shape[3]):
            raise UserError(f"{name}: {stage.name} gives {tuple(tensor.shape)}, no map of {stage.channels} channels")
        one = Map(stage.name, stage.channels, stage.stride, tensor.shape[1] != stage.channels)
        height, width = to_nchw(tensor, one).shape[2:]
        stride = (PROBE[1] - PROBE[0]) / max(width - height, 1)
        if not 0.7 < stride / stage.stride < 1.4:  # a map of few cells grows by whole ones
            raise UserError(f"{name}: {stage.name} gives maps of stride {stride:.3g}, which should be {stage.stride}")
        maps.append(one)
    for side in range(stages[-1].stride, PROBE[0]):
        with contextlib.suppress(Exception):
            _maps(body, side, side)
            return maps, side
    return maps, PROBE[0]


def check_share(body: nn.Module, feature_extractor: nn.Module, image_size: int, name: str) -> None:
    """Refuses a network whose features are not made in its maps, as those of a vision transformer are not.

    Raises:
        UserError: where most of its work would be left behind.
    """
    try:  # on small images linear layers are most of the work
        share = _operations(body, 224) / max(_operations(feature_extractor, 224), 1)
    except Exception:  # a network of another size only
        share = _operations(body, image_size) / max(_operations(feature_extractor, image_size), 1)
    if share < LEAST_SHARE:
        raise UserError(
            f"{name}: only {share:.0%} of its work goes into maps, the rest would be lost to a detector; "
            "export a network of convolutions"
        )


def freeze(body: fx.GraphModule, trainable_stages: int) -> None:
    """Leaves the parameters of the last so many stages trainable, those of the stages before not."""
    (output,) = (node for node in body.graph.nodes if node.op == "output")
    ends = list(output.args[0].values())
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


def _maps(body: nn.Module, height: int, width: int) -> list[Tensor]:
    with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # a module of torch.fx prints where it raises
        return in_order(body(torch.empty(1, 3, height, width, device="meta")))


def _operations(module: nn.Module, side: int) -> int:
    module = copy.deepcopy(module).eval().to("meta")
    counted = MetaFlopCounter()
    with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()), counted:
        module(torch.empty(1, 3, side, side, device="meta"))
    return counted.flops
