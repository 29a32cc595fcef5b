"""One worker: a process that trains the jobs it is sent until nobody sends any more.

It takes its seat before anything imports torch. Jobs come as they are, so that nothing is composed again. What it
would show on the terminal goes to the sweep's process; what else is printed, by a network of the user's own or by a
library, stands in its log file. It ends by itself, and no exception leaves it: whoever started it has none to hide.
"""

import logging
import os
import platform
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from crackdet.core.console import BarState, set_bar_sink
from crackdet.core.signals import Interrupted
from crackdet.sweep.execution.resources import WorkerResources

if TYPE_CHECKING:
    from crackdet.running.job import Job

log = logging.getLogger(__name__)

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class LogMessage:
    """A record of the worker's log."""

    name: str
    level: int
    text: str
    on_bar: bool


@dataclass(frozen=True)
class Ready:
    """The worker has begun, and can take a job."""

    where: str  # machine and process


@dataclass(frozen=True)
class JobDone:
    """The worker's job has ended, and it can take another."""

    failed: bool


@dataclass(frozen=True)
class Preempted:
    """The worker was told to go by somebody else than its sweep; what it was at is saved."""

    signal: str


@dataclass(frozen=True)
class SweepContext:
    """What all jobs of a sweep have in common: its folder and, of a search that prunes, the pruner."""

    directory: Path
    pruner: Mapping[str, Any] | None = None


Message = LogMessage | BarState | Ready | JobDone | Preempted


class Connection(Protocol):
    """To the sweep's process: a pipe, or files."""

    def send(self, message: Any, /) -> None: ...

    def recv(self) -> Any:
        """Waits for a job; raises EOFError where no more comes."""


def log_file(orders: SweepContext, number: int) -> Path:
    return orders.directory / f"worker-{number}.log"


def worker_loop(connection: Connection, seat: WorkerResources, orders: SweepContext, early: bool = False) -> None:
    """The life of a worker; `early`: it gets ready before it has a job.

    Raises:
        Interrupted: where it was told to go; what it was at is saved.
    """
    seat.take()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    send = _sender(connection)
    _write_log(log_file(orders, seat.number), send)
    set_bar_sink(send)
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    try:
        send(Ready(f"{platform.node()}, process {os.getpid()}"))
        threading.Thread(target=_listen, args=(connection, jobs), daemon=True).start()
        if early:
            import crackdet.running.training_run  # noqa: F401  # torch: seconds, while the parent still looks at the networks

        while (job := jobs.get()) is not None:
            send(JobDone(_failed(job, orders)))
    except Interrupted as stop:
        send(Preempted(str(stop)))
        raise


def leave_terminal() -> None:
    """From now on the terminal's Ctrl-C is the parent's alone, which passes it on once."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def _failed(job: "Job", orders: SweepContext) -> bool:
    """Trains; whether that failed."""
    from crackdet.core.errors import DeviceLost, RunFailed, UserError
    from crackdet.running.execute import execute

    judge = None
    try:
        if orders.pruner is not None and not job.is_finished():
            from crackdet.sweep.search.pruning import judge_of  # imports optuna: half a second

            judge = judge_of(orders.directory, orders.pruner, job.run)
        execute(replace(job, sweep=str(orders.directory)), judge)
    except DeviceLost as error:
        log.error("%s", error)
        os._exit(1)  # without asking the GPU; the run goes to another worker
    except (RunFailed, UserError) as error:
        log.error("%s", error)
        return True
    except Exception:
        log.error("%s", traceback.format_exc())
        return True
    return False


def _listen(connection: Connection, jobs: "queue.SimpleQueue[Job | None]") -> None:
    """Passes jobs on; where the sweep's process has gone the worker saves what it is at, and goes too."""
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        jobs.put(None)
        if hasattr(signal, "pthread_kill"):  # the main thread, or a wait of it would not end
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _stop(signum: int, _frame: FrameType | None) -> None:
    """Outside of training, which listens itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it is leaving
    raise Interrupted(signum)


def _sender(connection: Connection) -> Callable[[Message], None]:
    busy = threading.Lock()

    def send(message: Message) -> None:
        try:
            with busy:
                connection.send(message)
        except OSError:  # the parent has gone, and _listen knows
            return

    return send


class _Relay(logging.Handler):
    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not record.name.startswith("crackdet"):
            return  # of a launcher, about itself
        self._send(LogMessage(record.name, record.levelno, record.getMessage(), getattr(record, "on_bar", False)))


def _write_log(path: Path, send: Callable[[Message], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8", buffering=1)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file.fileno(), stream.fileno())
    written = logging.StreamHandler(file)
    written.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[written, _Relay(send)])
    logging.getLogger("crackdet").setLevel(logging.INFO)
