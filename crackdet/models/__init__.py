"""Classifiers: a feature extractor and linear layers. One file per model family."""

from crackdet.models.factory import build
from crackdet.models.stage import Stage

__all__ = ["Stage", "build"]
