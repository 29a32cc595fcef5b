"""`crackdet`: the application with all its commands."""

from crackdet.cli import cleanup, data, inference, inspection, runs
from crackdet.cli.common import app

__all__ = ["app", "cleanup", "data", "inference", "inspection", "runs"]
