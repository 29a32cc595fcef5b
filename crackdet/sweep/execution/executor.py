"""What a sweep needs of whoever trains its jobs, and the sweep's way through them."""

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from crackdet.core.console import bar
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.store.snapshot import Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobOutcome:
    """A job that came to its end, whatever that was: the store says it. Why it failed has been logged."""

    job: Job
    failed: bool = False


class Executor(ABC):
    """Trains jobs. Used as a context: leaving it leaves no process behind, and no run without its state saved."""

    size: int | None  # jobs that it takes at once; None: as many as there are

    @abstractmethod
    def start(self, job: Job) -> None:
        """Takes a job; never more than `size` before some have ended."""

    @abstractmethod
    def wait(self) -> list[JobOutcome]:
        """Waits until at least one of the jobs has ended.

        Raises:
            KeyboardInterrupt, Interrupted: where it was stopped by a signal.
        """

    def idle(self, seconds: float) -> None:
        """Lets time pass while there is no job for it.

        Raises:
            KeyboardInterrupt, Interrupted: where it was stopped by a signal.
        """
        time.sleep(seconds)

    def __enter__(self) -> "Executor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return


def run_jobs(jobs: Sequence[Job], total: int, crew: Executor) -> int:
    """Has the jobs trained; an exit status: 0, 1 where one failed, 128 + signal where it was stopped.

    What another process has finished or holds when its turn comes is passed over.
    """
    left, busy, failed = deque(jobs), 0, False
    with bar("runs", total, done=total - len(jobs)) as runs:
        try:
            while left or busy:
                while left and (crew.size is None or busy < crew.size):
                    job = left.popleft()
                    if _is_taken(job):
                        runs.advance()
                    else:
                        crew.start(job)
                        busy += 1
                if busy:
                    ended = crew.wait()
                    failed = failed or any(end.failed for end in ended)
                    busy -= len(ended)
                    runs.advance(len(ended))
        except (KeyboardInterrupt, Interrupted) as stop:
            return exit_status(stop)
    return int(failed)


def exit_status(stop: KeyboardInterrupt | Interrupted) -> int:
    return stop.exit_status if isinstance(stop, Interrupted) else 130


def _is_taken(job: Job) -> bool:
    """Whether another process has come first; to see it here is a hundredth of what a job costs."""
    status = job.run.status()
    if status is Status.RUNNING:
        log.info("%s is being trained by another process", job.run.id)
        return True
    return status is Status.FINISHED and job.is_finished()
