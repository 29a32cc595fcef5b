"""`crackdet`: importing this module registers all commands."""

import sys
from pathlib import Path

from crackdet.core.startup import prepare_process

if Path(sys.argv[0]).stem == "crackdet":  # the console script imports this module, and so all commands, first
    prepare_process()

from crackdet.cli import cleanup, inference, inspection, runs
from crackdet.cli.common import app

__all__ = ["app", "cleanup", "inference", "inspection", "runs"]
