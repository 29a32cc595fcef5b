"""Workers that one of Hydra's launchers starts, on this machine or on others; letters in the sweep's folder reach them.

A launcher is asked to start workers and to say which have ended, no more. So its own ways with jobs do not matter:
there is no error for it to hide, a worker that dies takes none of the others with it, and none waits for a batch.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from crackdet.core.signals import Interrupted, ignore_repeated_signals
from crackdet.running.job import Job
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.file_connection import POLL, ConnectionDir
from crackdet.sweep.execution.resources import THREADS, WorkerResources
from crackdet.sweep.execution.worker import Message, Ready, SweepContext, leave_terminal, worker_loop


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker needs to know to begin."""

    letters: Path  # the folder
    name: str  # in it
    seat: WorkerResources
    orders: SweepContext
    directory: str  # where relative paths begin
    path: list[str]  # where modules are found
    terminal: bool  # whether it shares the terminal of the sweep


def remote_main(place: WorkerSpec) -> None:
    """The life of a launched worker: what a launcher calls, in whatever process."""
    os.chdir(place.directory)
    sys.path += [entry for entry in place.path if entry not in sys.path]
    if place.terminal:
        leave_terminal()
    for name in ("SIGUSR1", "SIGUSR2"):  # of Slurm by submitit: the job's time is nearly over
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _time_is_up)
    logging.getLogger("submitit").propagate = False  # its own files have what it says of signals
    if "SLURM_CPUS_PER_TASK" in os.environ:
        os.environ.setdefault(THREADS, os.environ["SLURM_CPUS_PER_TASK"])
    ignore_repeated_signals()
    with contextlib.suppress(Interrupted):
        worker_loop(ConnectionDir.to_sweep(place.letters, place.name), place.seat, place.orders)
    if place.terminal and not ConnectionDir.is_open(place.letters):
        os._exit(0)  # the sweep has gone, and joblib's processes do not notice


def _time_is_up(_signum: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)


class BackendTask(ABC):
    """A worker as its launcher sees it."""

    @abstractmethod
    def has_ended(self) -> bool: ...

    @abstractmethod
    def cancel(self) -> None:
        """Ends it if it has not ended; takes it back if it has not begun."""

    @abstractmethod
    def reason(self) -> str:
        """Why it ended, as far as the launcher knows, such as: was killed (SIGKILL)."""


class RemoteWorker(WorkerHandle):
    """A worker that is reached by letters."""

    def __init__(self, office: ConnectionDir, name: str, task: BackendTask) -> None:
        self._letters = office.to_worker(name)
        self._task = task
        self._where = ""  # it is, once it has begun
        self._home = False

    def send(self, job: Job) -> None:
        self._letters.send(job)

    def hear(self) -> Message:
        if not self._letters.poll():
            self._letters.close()  # should it live all the same
            raise EOFError
        message: Message = self._letters.recv()
        if isinstance(message, Ready):
            self._where = message.where
        return message

    def has_news(self) -> bool:
        return self._letters.poll() or self._task.has_ended()

    def dismiss(self, busy: bool) -> None:
        self._letters.close()
        self._home = not busy and bool(self._where)  # it goes by itself
        if not self._where:
            self._task.cancel()

    def kill(self) -> None:
        if not self._home and not self._task.has_ended():
            self._task.cancel()

    def end(self) -> str:
        return f"{f'({self._where}) ' if self._where else ''}{self._task.reason()}"


class LauncherBackend(WorkerBackend[RemoteWorker]):
    """Starts workers by a launcher."""

    patience = 30.0  # seconds: a worker that waits keeps others from the machine
    terminal = False  # whether its workers share the terminal of the sweep

    def __init__(self, orders: SweepContext) -> None:
        self._orders = orders
        self._office = ConnectionDir(orders.directory)
        self._hired = 0

    def __enter__(self) -> "LauncherBackend":
        self._office.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._office.close()

    @abstractmethod
    def begin(self, place: WorkerSpec, serve: Callable[[WorkerSpec], Any]) -> BackendTask:
        """Has the function called for this place.

        Raises:
            UserError: where the launcher refuses.
        """

    def seat(self, number: int) -> WorkerResources:
        """What the worker of this number gets; nothing more than what its launcher gives it."""
        return WorkerResources(number, {})

    def hire(self, number: int) -> RemoteWorker:
        self._hired += 1
        name = str(self._hired)
        place = WorkerSpec(
            self._office.folder, name, self.seat(number), self._orders, str(Path.cwd()), sys.path, self.terminal
        )
        return RemoteWorker(self._office, name, self.begin(place, remote_main))

    def with_news(self, lines: Sequence[RemoteWorker], seconds: float) -> list[RemoteWorker]:
        until = time.monotonic() + seconds
        while not (ready := [line for line in lines if line.has_news()]) and time.monotonic() < until:
            time.sleep(POLL)
        return ready
