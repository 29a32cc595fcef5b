"""`crackdet.compose.compose`: overrides -> configuration, for scripts."""

from crackdet.config.composing import compose

__all__ = ["compose"]
