"""The interface to whatever starts worker processes: this process, or one of Hydra's launchers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from crackdet.running.job import Job
from crackdet.sweep.execution.worker import Message


class WorkerHandle(ABC):
    """The connection to one worker, from the moment that the worker is requested."""

    @abstractmethod
    def send(self, job: Job) -> None:
        """Send a job. Never fails: `recv` reports a dead worker."""

    @abstractmethod
    def recv(self) -> Message:
        """Return the next message; call only if `WorkerBackend.poll` returned this worker.

        Raises:
            EOFError: If the worker has ended and all its messages were read.
        """

    @abstractmethod
    def shutdown(self, busy: bool) -> None:
        """Ask the worker to end. A busy worker saves its run first: read its messages until it has ended."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker if it is still alive."""

    @abstractmethod
    def exit_reason(self) -> str:
        """Return how an ended worker ended, such as `was killed by SIGKILL`."""


H = TypeVar("H", bound=WorkerHandle)


class WorkerBackend(ABC, Generic[H]):
    """Starts workers. Used as a context manager."""

    prestart = False  # all workers start on entry, and jobs are sent to them before they are ready
    idle_timeout = float("inf")  # seconds after which an idle worker is shut down

    def __enter__(self) -> "WorkerBackend[H]":
        return self

    def __exit__(self, *_: object) -> None:
        return

    @abstractmethod
    def max_workers(self) -> int | None:
        """Return how many workers can run at once, None if there is no limit; called inside the context."""

    @abstractmethod
    def prepare(self, num_workers: int) -> str:
        """Divide the resources among this many workers; return a description for the log."""

    @abstractmethod
    def spawn(self, number: int) -> H:
        """Start the worker with this number, counted from 1.

        Raises:
            UserError: If no worker can be started.
        """

    @abstractmethod
    def poll(self, handles: Sequence[H], timeout: float) -> list[H]:
        """Wait at most `timeout` seconds; return the workers that have sent a message or have ended."""
