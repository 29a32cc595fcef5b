"""A candidate of `benchmarks.screening`: the first layers of a pretrained network, pooled."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class CutNetwork(nn.Module):
    """The first stages of MobileNetV2 or EfficientNet-Lite0, and the means of their last feature map.

    Args:
        network: mobilenet_v2 (torchvision) or tf_efficientnet_lite0 (timm).
        depth: Number of stages that are kept.
        half: Keep only the first half of the channels.
        file: Weights of the whole network; null: random weights.
    """

    def __init__(self, network: str, depth: int, half: bool = False, file: str | None = None) -> None:
        super().__init__()
        stages, whole = _stages(network)
        on_meta = any(parameter.is_meta for parameter in whole.parameters())
        if file is not None and not on_meta:
            whole.load_state_dict(_read(Path(file)))
        self.stages = nn.Sequential(*stages[:depth])
        self.keeps_half = half

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, S, S) -> features (N, C)."""
        features: Tensor = self.stages(images).mean((2, 3))
        return features[:, : features.shape[1] // 2] if self.keeps_half else features


def _stages(network: str) -> tuple[list[nn.Module], nn.Module]:
    if network == "mobilenet_v2":
        from torchvision.models import mobilenet_v2

        whole = mobilenet_v2()
        return list(whole.features), whole
    import timm

    lite: Any = timm.create_model(network)
    stem, head = nn.Sequential(lite.conv_stem, lite.bn1), nn.Sequential(lite.conv_head, lite.bn2)
    return [stem, *lite.blocks, head], lite


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return {name: tensor.float() for name, tensor in load_file(file).items()}
    weights: dict[str, Tensor] = torch.load(file, weights_only=True)
    return weights
