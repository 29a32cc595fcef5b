"""`crackdet watch` as users run it: in a terminal of its own, beside a training process."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crackdet.store.snapshot import Status
from crackdet.watch.monitor import StoreMonitor
from tests.conftest import TINY
from tests.processes import TIMEOUT, wait_until

ROOT = Path(__file__).parents[2]
ENDLESS = ("trainer.max_epochs=100000", "trainer.patience=100000", "optimizer.learning_rate=1e-6")


@pytest.fixture
def training(tmp_path: Path, base_overrides: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A running process that does not finish by itself."""
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *TINY, *base_overrides, *ENDLESS],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    wait_until(lambda: any((tmp_path / "runs").glob("*/history.csv")))
    yield process
    process.kill()
    process.wait()


class Terminal:
    """`crackdet` in a pseudo-terminal of 80 columns and 24 lines."""

    def __init__(self, *arguments: str) -> None:
        self.text = ""
        environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
        environment.pop("NO_COLOR", None)
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "crackdet", *arguments], environment)

    def shows(self, pattern: str) -> bool:
        while select.select([self.file], [], [], 0)[0]:
            try:
                self.text += os.read(self.file, 65536).decode(errors="replace")
            except OSError:  # the process has ended
                break
        return re.search(pattern, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)) is not None

    def clear(self) -> None:
        self.text = ""

    def leave(self) -> int:
        """Press Ctrl-C and return the exit status."""
        os.write(self.file, b"\x03")
        wait_until(
            lambda: self.shows("$^") or os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_run_is_watched_until_it_is_killed(training: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    store = tmp_path / "runs"
    terminal = Terminal("watch", str(store))
    piped = subprocess.Popen(
        [sys.executable, "-m", "crackdet", "watch", str(store), "--every", "0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert piped.stdout is not None and piped.stderr is not None
    lines = iter(piped.stdout.readline, "")
    wait_until(lambda: terminal.shows(r"1 running\s"))
    wait_until(lambda: terminal.shows(r"custom-[0-9a-f]{12}\s+\d+/100000\s+0\.\d{4}"))
    next(line for line in lines if re.search(r"running custom-[0-9a-f]{12}: epoch \d+/100000, accuracy 0\.\d+", line))
    (watched,) = StoreMonitor(store).update()
    assert watched.status is Status.RUNNING

    training.send_signal(signal.SIGKILL)
    training.wait()
    terminal.clear()
    wait_until(lambda: terminal.shows(r"1 interrupted"))
    wait_until(lambda: terminal.shows(r"its process died"))
    next(line for line in lines if re.search(r"interrupted custom-[0-9a-f]{12}: its process died", line))

    assert terminal.leave() == 0
    piped.send_signal(signal.SIGINT)
    assert piped.wait(TIMEOUT) == 0
    assert piped.stderr.read() == ""


def crackdet(*arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "crackdet", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, cwd=ROOT)


def test_once_prints_the_present_state_and_a_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    process = crackdet("watch", "--once", str(tmp_path / "runs"))
    assert (process.returncode, process.stderr) == (0, "")
    assert "no runs yet" in process.stdout
    wrong = crackdet("watch", str(tmp_path / "nowhere"))
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ") and "Traceback" not in wrong.stderr
