"""Workers of a launcher, by joblib: their outcomes, their deaths. Runs that need no training keep it short."""

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
from crackdet.store.identity import identify
from crackdet.store.run_store import RunStore
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.executor import run_jobs
from crackdet.sweep.execution.factory import create_executor
from crackdet.sweep.execution.pool import WorkerPool
from crackdet.sweep.execution.worker import JobDone, Message, Ready, SweepContext

ROOT = Path(__file__).parents[3]


class JoblibLauncher(Launcher):
    """Of hydra-joblib-launcher: what crackdet looks at."""

    joblib = {"n_jobs": 1}  # noqa: RUF012

    def setup(self, **_: object) -> None: ...

    def launch(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        raise AssertionError("its own way with jobs is not used")


@pytest.fixture
def hopeless(tiny: Callable[..., Config], tmp_path: Path) -> Callable[[int], Job]:
    """A job whose run has failed for good, which is told without training."""

    def job(seed: int) -> Job:
        config = tiny(f"seed={seed}")
        identity = identify(config, "no images")
        run = RunStore(tmp_path / "runs").run(identity.run_id)
        run.directory.mkdir(parents=True)
        record_failure(run, Failure.FATAL, f"a NaN in seed {seed}")
        return Job(config, identity, run, [f"seed={seed}"])

    return job


def test_every_error_of_a_launched_worker_is_told(
    hopeless: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("joblib")
    jobs = [hopeless(seed) for seed in range(3)]
    crew = create_executor(JoblibLauncher(), Runtime(), SweepContext(tmp_path / "sweep"), most=3)
    with crew:
        assert run_jobs(jobs, 3, crew) == 1
    told = re.findall(r"\[1\] \S+ is not tried again after 0 attempts: a NaN in seed (\d)", caplog.text)
    assert told == ["0", "1", "2"]
    assert not (tmp_path / "sweep" / ".crew").exists()


def test_a_worker_that_dies_is_replaced(
    hopeless: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("joblib")
    job = hopeless(0)
    crew = create_executor(JoblibLauncher(), Runtime(), SweepContext(tmp_path / "sweep"), most=1)
    with crew:
        crew.start(job)
        assert [end.failed for end in crew.wait()] == [True]
        (news,) = (tmp_path / "sweep" / ".crew").glob("*.news")
        assert news.read_bytes()
        for process in children():
            os.kill(process, signal.SIGKILL)
        crew.start(job)
        assert [end.failed for end in crew.wait()] == [True]
    assert "workers cannot be started" not in caplog.text


def children() -> list[int]:
    """Workers of joblib that this process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            line = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"popen_loky" in line:
            found.append(int(status.parent.name))
    return found


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_a_launcher_that_is_not_installed_is_named_with_what_brings_it(tmp_path: Path) -> None:
    line = [sys.executable, ROOT / "train.py", "-m", "hydra/launcher=ray", "seed=0", f"hydra.sweep.dir={tmp_path}"]
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: hydra/launcher: ray is not installed; uv pip install -e '.[ray]' brings it\n"


def test_a_worker_is_one_process_of_one_node(tmp_path: Path) -> None:
    class SlurmLauncher(JoblibLauncher):
        params = {"nodes": 2}  # noqa: RUF012

    with pytest.raises(UserError, match=r"hydra\.launcher\.nodes=2: must be 1"):
        create_executor(SlurmLauncher(), Runtime(), SweepContext(tmp_path))


class Calm(WorkerHandle):
    """A worker that is ready at once and does any job in no time."""

    def __init__(self) -> None:
        self.news: list[Message] = [Ready("here")]
        self.is_home = False

    def send(self, job: Job) -> None:
        self.news.append(JobDone(failed=False))

    def hear(self) -> Message:
        return self.news.pop(0)

    def dismiss(self, busy: bool) -> None:
        self.is_home = True

    def kill(self) -> None: ...

    def end(self) -> str:
        return "ended"


class Small(WorkerBackend[Calm]):
    """Has so many workers to give."""

    patience = 0.2
    is_stopped = False  # while it is listened to

    def __init__(self, number: int) -> None:
        self.number, self.lines = number, list[Calm]()

    def places(self) -> int | None:
        return None

    def describe(self, size: int) -> str:
        return "a small agency"

    def hire(self, number: int) -> Calm:
        if len(self.lines) == self.number:
            raise UserError("no more than so many jobs of one user")
        self.lines.append(Calm())
        return self.lines[-1]

    def with_news(self, lines: Sequence[Calm], seconds: float) -> list[Calm]:
        time.sleep(0.01)
        if self.is_stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        return [line for line in lines if line.news]


def test_an_agency_that_has_too_few_workers_ends_no_sweep(
    hopeless: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [hopeless(seed) for seed in range(3)]
    with WorkerPool(Small(1), SweepContext(tmp_path / "sweep"), most=3) as crew:
        assert run_jobs(jobs, 3, crew) == 0
    assert caplog.text.count("no more than so many jobs of one user; asking again in a minute") == 1
    with pytest.raises(UserError, match="no more than"), WorkerPool(Small(0), SweepContext(tmp_path / "sweep")) as crew:
        run_jobs(jobs, 3, crew)


def test_workers_without_a_job_go_home_while_others_are_waited_for(
    hopeless: Callable[[int], Job], tmp_path: Path
) -> None:
    agency = Small(1)
    with WorkerPool(agency, SweepContext(tmp_path / "sweep"), most=1) as crew:
        run_jobs([hopeless(0)], 1, crew)
        assert not agency.lines[0].is_home
        crew.idle(4 * agency.patience)
        assert agency.lines[0].is_home
        agency.is_stopped = True
        with pytest.raises(Interrupted):
            crew.idle(0.001)
        agency.is_stopped = False
