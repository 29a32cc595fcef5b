"""The article's network, for any number of convolutions."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from crackdet.models.stage import Stage


class CustomFeatures(nn.Sequential):
    """For each entry of `conv_out`: a 3x3 convolution with that many output channels, 2x2 max-pooling and ReLU."""

    def __init__(self, conv_out: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for in_channels, out_channels in pairwise([3, *conv_out]):
            # Pooling first equals the article's ReLU first, and leaves the ReLU a quarter of the values.
            layers += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
        super().__init__(*layers)
        self.conv_out = list(conv_out)

    def stages(self) -> list[Stage]:
        return [Stage(str(3 * i + 2), channels, 2 ** (i + 1)) for i, channels in enumerate(self.conv_out)]
