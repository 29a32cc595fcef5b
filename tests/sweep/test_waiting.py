"""`runtime.wait_for_others`: a sweep waits for runs of other processes, and takes over those whose process dies."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from crackdet.running.job import Job
from crackdet.sweep import grid
from crackdet.sweep.execution.executor import Executor, JobOutcome
from tests.jobs import Configure, job_of


class FailingExecutor(Executor):
    """All of its jobs fail at once."""

    max_jobs = None

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.submitted: list[Job] = []
        self._meanwhile = meanwhile
        self._pending: list[Job] = []

    def submit(self, job: Job) -> None:
        self.submitted.append(job)
        self._pending.append(job)

    def wait(self) -> list[JobOutcome]:
        self._meanwhile()
        outcomes, self._pending = [JobOutcome(job, failed=True) for job in self._pending], []
        return outcomes


def test_a_sweep_waits_for_all_runs_of_other_processes(tiny: Configure) -> None:
    orphan, held = job_of(tiny()), job_of(tiny("seed=1"))
    orphan.run.directory.mkdir(parents=True)
    orphan.run.history_file.touch()  # left by a process that died
    with held.run.claim():
        waiting = ThreadPoolExecutor().submit(grid.wait_for_others, [orphan, held], FailingExecutor())
        with pytest.raises(TimeoutError):
            waiting.result(timeout=2.5 * grid.POLL_INTERVAL)
    assert waiting.result(timeout=60) == 1


def test_a_run_whose_process_dies_while_another_is_taken_over_is_taken_over_too(tiny: Configure) -> None:
    orphan, held = job_of(tiny()), job_of(tiny("seed=1"))
    for job in (orphan, held):
        job.run.directory.mkdir(parents=True)
        job.run.history_file.touch()
    with ExitStack() as claim:
        claim.enter_context(held.run.claim())
        executor = FailingExecutor(claim.close)
        assert grid.wait_for_others([orphan, held], executor) == 1
    assert [job.run.id for job in executor.submitted] == [orphan.run.id, held.run.id]
