"""`crackdet`: importing this module registers all commands."""

from crackdet.cli import cleanup, inference, inspection, runs
from crackdet.cli.common import app

__all__ = ["app", "cleanup", "inference", "inspection", "runs"]
