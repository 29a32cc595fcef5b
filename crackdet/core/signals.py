"""Asked to stop: the first Ctrl-C or SIGTERM lets a run save its state, the second leaves at once.

In a process that a scheduler stops the second says nothing: Slurm and its srun both send one, in the same moment.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """A run was asked to stop and has saved its state."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_status = 128 + signum


_once = False


def ignore_repeated_signals() -> None:
    """From now on further signals to stop are not heard in this process."""
    global _once
    _once = True


class StopRequest:
    """Whether this process was asked to stop."""

    signum: int | None = None

    def raise_if_asked(self) -> None:
        if self.signum is not None:
            raise Interrupted(self.signum)


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turns SIGINT and SIGTERM into a request for the time of a block."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only there can signals be received
        yield request
        return

    def handle(signum: int, _frame: FrameType | None) -> None:
        if request.signum is not None:
            if _once:
                return
            raise Interrupted(signum)
        request.signum = signum  # and no more: a message might break into one that is being written

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if _once and request.signum is not None else handler)
