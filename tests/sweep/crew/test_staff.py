"""Workers of a launcher, by joblib: their outcomes, their deaths. Runs that need no training keep it short."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra.plugins.launcher import Launcher

from crackdet.errors import UserError
from crackdet.identity import identify
from crackdet.schema import Config, Runtime
from crackdet.store import Failure, RunStore
from crackdet.sweep.crew.crew import launch
from crackdet.sweep.crew.hiring import hire
from crackdet.sweep.crew.worker import Orders
from crackdet.sweep.job import Job

ROOT = Path(__file__).parent.parent.parent.parent


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
        run.fail(Failure.HOPELESS, f"a NaN in seed {seed}")
        return Job(config, identity, run, [f"seed={seed}"])

    return job


def test_every_error_of_a_launched_worker_is_told(
    hopeless: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("joblib")
    jobs = [hopeless(seed) for seed in range(3)]
    crew = hire(JoblibLauncher(), Runtime(), Orders(tmp_path / "sweep"), most=3)
    with crew:
        assert launch(jobs, 3, crew) == 1
    told = re.findall(r"\[1\] \S+ is not tried again after 0 attempts: a NaN in seed (\d)", caplog.text)
    assert told == ["0", "1", "2"]
    assert not (tmp_path / "sweep" / ".crew").exists()


def test_a_worker_that_dies_is_replaced(
    hopeless: Callable[[int], Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("joblib")
    job = hopeless(0)
    crew = hire(JoblibLauncher(), Runtime(), Orders(tmp_path / "sweep"), most=1)
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
    assert done.stderr == "error: hydra/launcher: is not installed; pip install 'crackdet[ray]' brings it\n"


def test_a_worker_is_one_process_of_one_node(tmp_path: Path) -> None:
    class SlurmLauncher(JoblibLauncher):
        params = {"nodes": 2}  # noqa: RUF012

    with pytest.raises(UserError, match=r"hydra\.launcher\.nodes=2: must be 1"):
        hire(SlurmLauncher(), Runtime(), Orders(tmp_path))
