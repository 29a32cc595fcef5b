"""The executor interface, the executor that calls a Hydra launcher, and the loop that submits jobs to an executor."""

import logging
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.plugins.launcher import Launcher

from crackdet.core.console import bar
from crackdet.core.errors import DeviceLost, StoreGone
from crackdet.core.files import OpenFolder
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.store.snapshot import Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobOutcome:
    """A job that has ended. The run store has its result, the log has the reason if it failed."""

    job: Job
    failed: bool = False


class Executor(ABC):
    """Trains jobs. Used as a context manager: on exit, all runs are saved and all worker processes have ended."""

    max_jobs: int | None  # maximum number of submitted jobs that have not ended; None: no limit
    folders: Sequence[OpenFolder] = ()  # the run store and the folder of the sweep

    def check_folders(self) -> None:
        """Raise StoreGone if the run store or the folder of the sweep has been moved, removed or replaced."""
        for folder in self.folders:
            folder.check()

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Submit a job."""

    @abstractmethod
    def wait(self) -> list[JobOutcome]:
        """Wait until at least one submitted job has ended.

        Raises:
            KeyboardInterrupt, Interrupted: If a signal asks the process to stop.
        """

    def idle(self, seconds: float) -> None:
        """Wait while there is no job to submit.

        Raises:
            KeyboardInterrupt, Interrupted: If a signal asks the process to stop.
        """
        time.sleep(seconds)

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        return


def is_basic(launcher: Launcher) -> bool:
    return type(launcher).__name__ == "BasicLauncher"


class LauncherExecutor(Executor):
    """Runs jobs by a Hydra launcher, which composes each of them again.

    Args:
        max_jobs: How many jobs are passed to the launcher at once; None: all. The basic launcher takes one.
    """

    def __init__(self, launcher: Launcher, max_jobs: int | None = None) -> None:
        self.max_jobs = 1 if is_basic(launcher) else max_jobs
        self._launcher = launcher
        self._jobs: list[Job] = []
        self._next_index = 0  # names the folder of Hydra's logs of a job

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self) -> list[JobOutcome]:
        jobs, self._jobs = self._jobs, []
        first_index, self._next_index = self._next_index, self._next_index + len(jobs)
        try:
            returns = self._launcher.launch([job.overrides for job in jobs], initial_job_idx=first_index)
        except Exception:  # of the launcher itself; the store has what was finished
            log.error("%s", traceback.format_exc())
            return [JobOutcome(job, failed=True) for job in jobs]
        outcomes = []
        for job, job_return in zip(jobs, returns, strict=True):
            error = getattr(job_return, "_return_value", None)
            if isinstance(error, StoreGone):
                raise error
            if isinstance(error, Exception):
                log.error("%s", error)
            if isinstance(error, DeviceLost) and is_basic(self._launcher):
                raise error  # the next job in this process would fail too
            outcomes.append(JobOutcome(job, failed=isinstance(error, Exception)))
        return outcomes


def run_jobs(jobs: Sequence[Job], total: int, executor: Executor) -> int:
    """Train the jobs, except those that another process holds or has finished by then.

    Args:
        total: Number of jobs in the sweep, including the finished ones; for the progress bar.

    Returns:
        An exit status: 0, 1 if a job failed, or 128 + signal if the sweep was stopped.

    Raises:
        StoreGone: If no further run can be trained.
    """
    waiting, running, failed = deque(jobs), 0, False
    with bar("runs", total, done=total - len(jobs)) as progress:
        try:
            while waiting or running:
                while waiting and (executor.max_jobs is None or running < executor.max_jobs):
                    executor.check_folders()
                    job = waiting.popleft()
                    if _is_taken(job):
                        progress.advance()
                    else:
                        executor.submit(job)
                        running += 1
                if running:
                    outcomes = executor.wait()
                    executor.check_folders()
                    failed = failed or any(outcome.failed for outcome in outcomes)
                    running -= len(outcomes)
                    progress.advance(len(outcomes))
        except (KeyboardInterrupt, Interrupted) as stop:
            return exit_status(stop)
    return int(failed)


def exit_status(stop: KeyboardInterrupt | Interrupted) -> int:
    return stop.exit_status if isinstance(stop, Interrupted) else 130


def _is_taken(job: Job) -> bool:
    """Return whether another process trains the job or has finished it; much cheaper than submitting it."""
    status = job.run.status()
    if status is Status.RUNNING:
        log.info("%s is being trained by another process", job.run.id)
        return True
    return status is Status.FINISHED and job.is_finished()
