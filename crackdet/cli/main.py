"""`crackdet`: importing this module registers all commands."""

import os
import sys

from crackdet.core.interrupts import exit_on_interrupt

if os.path.basename(sys.argv[0]).startswith("crackdet"):  # noqa: PTH119  # the console script; importing pathlib takes time
    exit_on_interrupt()
    from crackdet.core.startup import prepare_process

    prepare_process()

from crackdet.cli import checking, cleanup, inference, inspection, runs, synthesis
from crackdet.cli.common import app

__all__ = ["app", "checking", "cleanup", "inference", "inspection", "runs", "synthesis"]
