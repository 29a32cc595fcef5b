"""Inspect what a finished run has learned: feature maps, saliency and the pointing game."""
