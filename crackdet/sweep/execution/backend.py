"""What a crew needs of whoever starts its workers: processes of our own, or one of Hydra's launchers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, TypeVar

from crackdet.running.job import Job
from crackdet.sweep.execution.worker import Message


class WorkerHandle(ABC):
    """The connection with one worker, from the moment that it is asked for."""

    @abstractmethod
    def send(self, job: Job) -> None:
        """Gives it a job; where it has died that is found out by hearing it."""

    @abstractmethod
    def hear(self) -> Message:
        """What it says; asked for only where there are news.

        Raises:
            EOFError: where it has ended, and said everything.
        """

    @abstractmethod
    def dismiss(self, busy: bool) -> None:
        """Sends it home; a busy one saves its run first, and is to be heard until it ends."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it, if it has not ended."""

    @abstractmethod
    def end(self) -> str:
        """How it ended, after it did: was killed by SIGKILL."""


L = TypeVar("L", bound=WorkerHandle)


class WorkerBackend(ABC, Generic[L]):
    """Starts workers. Used as a context."""

    early = False  # its workers are hired before there are jobs, and take some before they are ready
    patience = float("inf")  # seconds until a worker that has nothing to do is sent home

    def __enter__(self) -> "WorkerBackend[L]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    @abstractmethod
    def places(self) -> int | None:
        """How many workers can be at work at once; None: no limit. Asked inside of the context."""

    @abstractmethod
    def describe(self, size: int) -> str:
        """What so many workers share, for the log."""

    @abstractmethod
    def hire(self, number: int) -> L:
        """Starts the worker of this number, from 1.

        Raises:
            UserError: where none can be started.
        """

    @abstractmethod
    def with_news(self, lines: Sequence[L], seconds: float) -> list[L]:
        """Those that have something to say or have ended, after so many seconds at most."""
