"""The simple feature pyramid of plain vision transformers: all maps are made from the last one.

Li, Mao, Girshick and He, "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, section 3.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

STRIDES = (4, 8, 16, 32)  # pixels


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of a map (N, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SimpleFeaturePyramid(nn.Module):
    """A map (N, in_channels, H, W) of a power-of-two stride -> maps of strides 4, 8, 16, 32, by number, and "pool".

    Deconvolutions make the finer maps and max-pooling the coarser ones; a 1x1 and a 3x3 convolution, each with layer
    normalization, follow.
    """

    def __init__(self, in_channels: int, stride: int, out_channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(in_channels, stride, level, out_channels) for level in STRIDES)
        self.extra = LastLevelMaxPool()

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        maps = [level(features) for level in self.levels]
        names = [str(number) for number in range(len(maps))]
        maps, names = self.extra(maps, maps, names)
        return OrderedDict(zip(names, maps, strict=True))


def _level(channels: int, stride: int, level: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    if level > stride:
        layers.append(nn.MaxPool2d(level // stride, ceil_mode=True))
    doublings = (stride // level).bit_length() - 1 if stride > level else 0
    for number in range(doublings):
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        channels //= 2
        if number < doublings - 1:
            layers += [ChannelNorm(channels, eps=1e-6), nn.GELU()]
    for width, kernel in ((channels, 1), (out_channels, 3)):
        layers.append(nn.Conv2d(width, out_channels, kernel, padding=kernel // 2, bias=False))
        layers.append(ChannelNorm(out_channels, eps=1e-6))
    return nn.Sequential(*layers)
