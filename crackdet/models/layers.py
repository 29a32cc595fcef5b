"""The layers of a feature extractor from the image upwards, for learning rates and unfreezing by depth."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import nn

from crackdet.models.stage import Stage

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
DEFAULT_STAGES = 4  # of a network whose feature maps have one resolution

Layer = list[str]  # names of parameters within the feature extractor


def parameter_layers(feature_extractor: nn.Module) -> list[Layer]:
    """Return the parameters of each layer, the one next to the image first.

    Layers are those of timm if the network has its `group_matcher`, else the sequence of its blocks: the outermost
    modules that are no mere containers. Normalization belongs to the layer before, and single parameters of the
    network, such as a position embedding, to the first layer. Parameters in no layer are trained like the head.
    """
    for prefix, module in feature_extractor.named_modules():
        if callable(matcher := getattr(module, "group_matcher", None)):
            start = f"{prefix}." if prefix else ""
            return [[start + name for name in layer] for layer in _timm_layers(module, matcher(coarse=False))]
    return _blocks(feature_extractor)


def stage_layers(layers: Sequence[Layer], stages: Sequence[Stage], feature_extractor: nn.Module) -> list[list[Layer]]:
    """Divide layers by the resolution of their feature maps; equally if all have the same, as in a transformer.

    Args:
        layers: As `parameter_layers` returns them.
        stages: The resolutions of the feature extractor, finest first.
        feature_extractor: The network.
    """
    order = {name: number for number, (name, _) in enumerate(feature_extractor.named_parameters())}
    ends = sorted(end for stage in stages if (end := _last_parameter(feature_extractor, stage.name, order)) is not None)
    parts: list[list[Layer]] = [[] for _ in ends]
    for layer in layers:
        last = max(order[name] for name in layer)
        number = sum(end < last for end in ends)
        if parts:
            parts[min(number, len(parts) - 1)].append(layer)
    parts = [part for part in parts if part]
    if len(parts) > 1 or not layers:
        return parts
    count = max(1, min(DEFAULT_STAGES, len(layers)))
    bounds = [len(layers) * number // count for number in range(count + 1)]
    return [list(layers[start:end]) for start, end in pairwise(bounds)]


def _last_parameter(network: nn.Module, name: str, order: dict[str, int]) -> int | None:
    """Return the number of the last parameter up to the end of a module, in order of definition."""
    last = None
    reached = False
    for module_name, module in network.named_modules():
        inside = module_name == name or module_name.startswith(f"{name}.")
        if reached and not inside:
            break
        reached = reached or inside
        own = (f"{module_name}.{parameter}".lstrip(".") for parameter, _ in module.named_parameters(recurse=False))
        last = max([number for item in own if (number := order.get(item)) is not None], default=last)
    return last if reached else None


def _timm_layers(network: nn.Module, matcher: object) -> list[Layer]:
    """Return the layers of timm's `param_groups_layer_decay`, without the last, which has the head."""
    from timm.models._manipulate import group_with_matcher

    head = "\n"  # matches no layer of a network
    names = [name for name, _ in network.named_parameters()]
    numbers = group_with_matcher([(name, None) for name in (*names, head)], matcher, reverse=True)
    layers: list[Layer] = [[] for _ in range(numbers[head])]
    for name in names:
        if numbers[name] < len(layers):
            layers[numbers[name]].append(name)
    return [layer for layer in layers if layer]


def _blocks(network: nn.Module) -> list[Layer]:
    whole = _size(network)

    def is_container(module: nn.Module) -> bool:
        children = [child for child in module.children() if _size(child)]
        if not children:
            return False
        holds_weights = any(not list(child.children()) for child in children)
        return (
            type(module) in CONTAINERS
            or (isinstance(module, CONTAINERS) and not holds_weights)
            or _size(module) > whole / 2
        )

    def visit(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for child_name, child in module.named_children():
            path = f"{name}.{child_name}".lstrip(".")
            if is_container(child):
                yield from visit(path, child)
            elif _size(child):
                yield path, child

    layers: list[Layer] = []
    names = dict.fromkeys(name for name, _ in network.named_parameters())
    for path, block in visit("", network):
        own = [name for name in names if name.startswith(f"{path}.")]
        is_norm = all(parameter.ndim <= 1 for parameter in block.parameters())
        if is_norm and layers:
            layers[-1] += own
        elif own:  # a shared block is in its first place
            layers.append(own)
        for name in own:
            del names[name]
    return [[*names, *layers[0]], *layers[1:]] if layers else [list(names)] if names else []


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
