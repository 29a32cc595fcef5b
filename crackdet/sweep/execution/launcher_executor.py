"""Hydra's launchers as a crew: the basic one trains in this process, others where and how they do."""

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
    """Jobs by a launcher of Hydra, which composes each of them anew.

    `at_once` is how many jobs go to a launcher that trains them side by side; None: all of them.
    """

    def __init__(self, launcher: Launcher, at_once: int | None = None) -> None:
        self.size = 1 if is_basic(launcher) else at_once
        self._launcher = launcher
        self._started: list[Job] = []
        self._number = 0  # of the next job, after which Hydra names the folder of its logs

    def start(self, job: Job) -> None:
        self._started.append(job)

    def wait(self) -> list[JobOutcome]:
        jobs, self._started = self._started, []
        first, self._number = self._number, self._number + len(jobs)
        try:
            returns = self._launcher.launch([job.overrides for job in jobs], initial_job_idx=first)
        except Exception:  # of a launcher: what it had finished stands in the store
            log.error("%s", traceback.format_exc())
            return [JobOutcome(job, failed=True) for job in jobs]
        ended = []
        for job, job_return in zip(jobs, returns, strict=True):
            error = getattr(job_return, "_return_value", None)
            if isinstance(error, Exception):
                log.error("%s", error)
            if isinstance(error, DeviceLost) and is_basic(self._launcher):
                raise error  # the next job in this process would fail too
            ended.append(JobOutcome(job, failed=isinstance(error, Exception)))
        return ended
