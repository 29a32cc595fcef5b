"""Ctrl-C outside of training, and while Python imports. This module imports nothing that takes time itself."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import SIGINT, default_int_handler, getsignal, signal
    from types import FrameType
else:
    from _signal import SIGINT, default_int_handler, getsignal, signal  # `signal` imports more

_raises = False  # whether the next Ctrl-C raises KeyboardInterrupt rather than ending the process


def exit_on_interrupt() -> None:
    """Let Ctrl-C end this process at once and without a traceback: nothing can be lost before a command begins."""
    if getsignal(SIGINT) is default_int_handler:  # else it is ignored, as in the background
        signal(SIGINT, _on_interrupt)


class interruptible:  # noqa: N801  # used like a function
    """Let the first Ctrl-C raise KeyboardInterrupt during a block, unless a module is being imported.

    After the first one, and after the block, Ctrl-C ends the process again (see `exit_on_interrupt`).
    """

    def __enter__(self) -> None:
        global _raises
        _raises = True

    def __exit__(self, *_: object) -> None:
        global _raises
        _raises = False


def _on_interrupt(_signum: int, frame: "FrameType | None") -> None:
    global _raises
    if _raises and not _is_importing(frame):
        _raises = False
        raise KeyboardInterrupt
    try:
        sys.stdout.flush()
        os.write(2, b"stopped\n")
    except Exception:
        pass  # the handler may have interrupted a write to standard output
    os._exit(128 + SIGINT)


def _is_importing(frame: "FrameType | None") -> bool:
    """Return whether a frame belongs to an import, which an exception would end with a traceback, or not at all."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
