"""Networks: a feature extractor and a classifier, one file per architecture."""

from crackdet.models.factory import build

__all__ = ["build"]
