"""A resolution of a feature extractor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One resolution of a feature extractor, as a detector uses it."""

    name: str  # of the module that outputs the feature map, within the feature extractor
    channels: int
    stride: int  # image pixels per feature map pixel
