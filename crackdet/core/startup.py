"""What each command does first, after `exit_on_interrupt`."""

import sys
from pathlib import Path

from crackdet.core.output import protect_output


def prepare_process() -> None:
    """Protect the output, and check the current folder.

    Raises:
        SystemExit: If the current folder has been removed.
    """
    protect_output()
    try:
        Path.cwd()
    except OSError:
        print("error: the current folder has been removed; change to a folder that exists", file=sys.stderr)
        raise SystemExit(2) from None
