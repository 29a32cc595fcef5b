"""Classifiers: a feature extractor and linear layers. One file per model family."""

from crackdet.models.classifier import Stage
from crackdet.models.factory import build

__all__ = ["Stage", "build"]
