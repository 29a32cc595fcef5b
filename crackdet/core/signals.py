"""Requests to stop: the first Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 lets a run save its state, a second exits."""

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


_ignore_repeated = False


def ignore_repeated_signals() -> None:
    """Ignore the second signal in this process: Slurm and its srun both send one at the same moment."""
    global _ignore_repeated
    _ignore_repeated = True


class StopRequest:
    """Whether this process has been asked to stop."""

    signum: int | None = None

    def raise_if_asked(self) -> None:
        if self.signum is not None:
            raise Interrupted(self.signum)


_request: StopRequest | None = None  # of the outermost `catch_signals`


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turn these signals into a request during a block; a block within the block has the same request."""
    global _request
    if _request is not None:
        yield _request
        return
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # no other thread receives signals
        yield request
        return

    def handle(signum: int, _frame: FrameType | None) -> None:
        if request.signum is None:
            request.signum = signum  # no message: it might interrupt another one
        elif not _ignore_repeated:
            raise Interrupted(signum)

    numbers = [signal.SIGINT, signal.SIGTERM]
    for name in ("SIGHUP", "SIGUSR1"):  # not on Windows
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, submitit may handle SIGUSR1
            numbers.append(number)
    handlers = {number: signal.signal(number, handle) for number in numbers}
    _request = request
    try:
        yield request
    finally:
        _request = None
        ignored = _ignore_repeated and request.signum is not None
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_IGN if ignored else handler)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Defer Ctrl-C to the end of a block; processes that are started in the block never receive it."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
