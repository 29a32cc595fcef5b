"""A pool of workers that joblib starts, or fake ones. Runs that need no training keep the tests short."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Config, Runtime
from crackdet.core.errors import UserError
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.store.failures import Failure, record_failure
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.executor import run_jobs
from crackdet.sweep.execution.factory import create_executor
from crackdet.sweep.execution.pool import WorkerPool
from crackdet.sweep.execution.worker import JobDone, Message, Ready, SweepContext
from tests.jobs import job_of

ROOT = Path(__file__).parents[3]


class JoblibLauncher(Launcher):
    """The attributes of hydra-joblib-launcher that crackdet reads."""

    joblib = {"n_jobs": 1}  # noqa: RUF012

    def setup(self, **_: object) -> None: ...

    def launch(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        raise AssertionError("the launcher itself must not run jobs")


@pytest.fixture
def failed_job(tiny: Callable[..., Config], tmp_path: Path) -> Callable[[int], Job]:
    """Makes a job whose run has failed for good, which is reported without training."""

    def job(seed: int) -> Job:
        job = job_of(tiny(f"seed={seed}"), f"seed={seed}")
        job.run.directory.mkdir(parents=True)
        record_failure(job.run, Failure.FATAL, f"a NaN in seed {seed}")
        return job

    return job


def test_every_error_in_a_launched_worker_is_logged(
    failed_job: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("joblib")
    jobs = [failed_job(seed) for seed in range(3)]
    with create_executor(JoblibLauncher(), Runtime(), SweepContext(tmp_path / "sweep"), max_jobs=3) as executor:
        assert run_jobs(jobs, 3, executor) == 1
    logged = re.findall(r"\[1\] \S+ is not retried after 0 attempts: a NaN in seed (\d)", caplog.text)
    assert logged == ["0", "1", "2"]
    assert not (tmp_path / "sweep" / ".workers").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_worker_that_dies_is_replaced(
    failed_job: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("joblib")
    job = failed_job(0)
    connections = tmp_path / "sweep" / ".workers"
    with create_executor(JoblibLauncher(), Runtime(), SweepContext(tmp_path / "sweep"), max_jobs=1) as executor:
        executor.submit(job)
        assert [outcome.failed for outcome in executor.wait()] == [True]
        (outbox,) = connections.glob("*.outbox")
        assert outbox.read_bytes()
        (victim,) = loky_workers()
        os.kill(victim, signal.SIGKILL)
        executor.submit(job)
        assert [outcome.failed for outcome in executor.wait()] == [True]
        assert len(list(connections.glob("*.outbox"))) == 2, "the second worker has a connection of its own"
        assert victim not in loky_workers() and len(loky_workers()) == 1
    assert "workers cannot be started" not in caplog.text


def loky_workers() -> list[int]:
    """Return the workers that joblib has started from this process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"popen_loky" in command:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(find_spec("ray") is not None, reason="needs an environment without ray")
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-m",
        "hydra/launcher=ray",
        "seed=0",
        f"hydra.sweep.dir={tmp_path}",
    ]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: hydra/launcher: ray is not installed; uv pip install -e '.[ray]' installs it\n"


def test_a_worker_must_be_one_process_on_one_node(tmp_path: Path) -> None:
    class SlurmLauncher(JoblibLauncher):
        params = {"nodes": 2}  # noqa: RUF012

    with pytest.raises(UserError, match=r"hydra\.launcher\.nodes=2: must be 1"):
        create_executor(SlurmLauncher(), Runtime(), SweepContext(tmp_path))


class FakeWorker(WorkerHandle):
    """A worker that is ready at once and finishes each job at once."""

    def __init__(self) -> None:
        self.messages: list[Message] = [Ready("here")]
        self.is_shut_down = False

    def send(self, job: Job) -> None:
        self.messages.append(JobDone(failed=False))

    def recv(self) -> Message:
        return self.messages.pop(0)

    def shutdown(self, busy: bool) -> None:
        self.is_shut_down = True

    def kill(self) -> None: ...

    def exit_reason(self) -> str:
        return "ended"


class FakeBackend(WorkerBackend[FakeWorker]):
    """Starts at most `limit` workers."""

    idle_timeout = 0.2
    is_stopped = False  # whether this process is asked to stop when the pool polls

    def __init__(self, limit: int) -> None:
        self.limit, self.workers = limit, list[FakeWorker]()

    def max_workers(self) -> int | None:
        return None

    def prepare(self, num_workers: int) -> str:
        return "fake workers"

    def spawn(self, number: int) -> FakeWorker:
        if len(self.workers) == self.limit:
            raise UserError("the queue is full")
        self.workers.append(FakeWorker())
        return self.workers[-1]

    def poll(self, handles: Sequence[FakeWorker], timeout: float) -> list[FakeWorker]:
        time.sleep(0.01)
        if self.is_stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        return [handle for handle in handles if handle.messages]


def test_a_sweep_continues_with_fewer_workers_if_no_more_can_be_started(
    failed_job: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [failed_job(seed) for seed in range(3)]
    context = SweepContext(tmp_path / "sweep")
    with WorkerPool(FakeBackend(1), context, max_workers=3) as executor:
        assert run_jobs(jobs, 3, executor) == 0
    assert caplog.text.count("the queue is full; asking again in a minute") == 1
    with pytest.raises(UserError, match="the queue is full"), WorkerPool(FakeBackend(0), context) as executor:
        run_jobs(jobs, 3, executor)


def test_idle_workers_are_shut_down_while_the_sweep_waits_for_others(
    failed_job: Callable[[int], Job], tmp_path: Path
) -> None:
    backend = FakeBackend(1)
    with WorkerPool(backend, SweepContext(tmp_path / "sweep"), max_workers=1) as executor:
        run_jobs([failed_job(0)], 1, executor)
        assert not backend.workers[0].is_shut_down
        executor.idle(4 * backend.idle_timeout)
        assert backend.workers[0].is_shut_down
        backend.is_stopped = True
        with pytest.raises(Interrupted):
            executor.idle(0.001)
        backend.is_stopped = False
