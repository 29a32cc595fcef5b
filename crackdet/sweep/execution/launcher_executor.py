"""An executor that calls a Hydra launcher directly: the basic one trains in this process."""

import logging
import traceback

from hydra.plugins.launcher import Launcher

from crackdet.core.errors import DeviceLost
from crackdet.running.job import Job
from crackdet.sweep.execution.executor import Executor, JobOutcome

log = logging.getLogger(__name__)


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
            if isinstance(error, Exception):
                log.error("%s", error)
            if isinstance(error, DeviceLost) and is_basic(self._launcher):
                raise error  # the next job in this process would fail too
            outcomes.append(JobOutcome(job, failed=isinstance(error, Exception)))
        return outcomes
