"""The worker process: trains the jobs that the sweep sends until the sweep closes the connection.

Log messages and progress bars are sent to the sweep's process; whatever is printed goes to the worker's log file.
Nothing may import torch before the worker has applied its resources.
"""

import logging
import os
import platform
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from crackdet.core.console import BarState, set_bar_sink
from crackdet.core.errors import DeviceLost, RunFailed, StoreGone, UserError
from crackdet.core.output import protect_output
from crackdet.core.signals import Interrupted, ignore_repeated_signals
from crackdet.store.run_store import RunStore
from crackdet.sweep.execution.file_connection import ConnectionDir
from crackdet.sweep.execution.resources import NUM_THREADS, WorkerResources

if TYPE_CHECKING:
    from crackdet.running.job import Job, PruneCheck
    from crackdet.store.run import Run

log = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class LogMessage:
    """A log record of the worker."""

    name: str
    level: int
    text: str
    on_bar: bool


@dataclass(frozen=True)
class Ready:
    """The worker has started and takes jobs."""

    location: str  # machine and process


@dataclass(frozen=True)
class JobDone:
    """The job has ended, and the worker takes another."""

    failed: bool


@dataclass(frozen=True)
class Preempted:
    """A signal from outside the sweep ended the worker; its run is saved."""

    signal: str


Message = LogMessage | BarState | Ready | JobDone | Preempted


@dataclass(frozen=True)
class SweepContext:
    """What all jobs of a sweep share."""

    directory: Path
    make_prune_check: Callable[["Run"], "PruneCheck"] | None = None  # of a search that prunes; pickled to the workers


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker needs to start."""

    name: str  # of its connection
    connections: Path  # the folder of the connections
    resources: WorkerResources
    context: SweepContext
    working_directory: str
    python_path: list[str]
    shares_terminal: bool  # whether the worker runs in the terminal of the sweep


class Connection(Protocol):
    """The connection to the sweep's process: a pipe, or files."""

    def send(self, message: Any, /) -> None: ...

    def recv(self) -> Any:
        """Wait for the next job; raise EOFError if the sweep has closed the connection or died."""


def log_file(context: SweepContext, number: int) -> Path:
    return context.directory / f"worker-{number}.log"


def worker_loop(
    connection: Connection, resources: WorkerResources, context: SweepContext, prestart: bool = False
) -> None:
    """Train jobs until the connection is closed.

    Args:
        prestart: Whether to import torch at once rather than for the first job.

    Raises:
        Interrupted: If a signal ended the worker; its run is saved.
    """
    protect_output()
    resources.apply()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_interrupted)
    send = _sender(connection)
    _redirect_output(log_file(context, resources.number), send)
    set_bar_sink(send)
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    try:
        send(Ready(f"{platform.node()}, process {os.getpid()}"))
        threading.Thread(target=_receive_jobs, args=(connection, jobs), daemon=True).start()
        if prestart:
            import crackdet.running.training_run  # noqa: F401  # imports torch: seconds, while the sweep checks its networks

        while (job := jobs.get()) is not None:
            send(JobDone(failed=not _succeeds(job, context)))
    except Interrupted as stop:
        send(Preempted(str(stop)))
        raise


def local_main(connection: Connection, resources: WorkerResources, context: SweepContext) -> None:
    """Run a worker in a child process of the sweep."""
    _detach_from_terminal()
    try:
        worker_loop(connection, resources, context, prestart=True)
    except Interrupted as stop:
        os._exit(stop.exit_status)  # everything is saved, and torch takes a while to shut down


def remote_main(spec: WorkerSpec) -> None:
    """Run a worker in a process that a launcher started, on this machine or another."""
    os.chdir(spec.working_directory)
    sys.path += [entry for entry in spec.python_path if entry not in sys.path]
    if spec.shares_terminal:
        _detach_from_terminal()
    for name in ("SIGUSR1", "SIGUSR2"):  # submitit's warning that the time limit of a Slurm job is near
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: signal.raise_signal(signal.SIGTERM))
    logging.getLogger("submitit").propagate = False  # submitit logs signals to its own files
    if "SLURM_CPUS_PER_TASK" in os.environ:
        os.environ.setdefault(NUM_THREADS, os.environ["SLURM_CPUS_PER_TASK"])
    ignore_repeated_signals()
    with suppress(Interrupted):
        worker_loop(ConnectionDir.connect_to_sweep(spec.connections, spec.name), spec.resources, spec.context)
    if spec.shares_terminal and not ConnectionDir.is_open(spec.connections):
        os._exit(0)  # the sweep has died, which joblib's processes do not notice


def _detach_from_terminal() -> None:
    """Leave the process group of the terminal: the sweep's process alone receives Ctrl-C and passes it on once."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def _succeeds(job: "Job", context: SweepContext) -> bool:
    """Train a job; log the error if it fails."""
    from crackdet.running.execute import execute

    prune_check = None
    try:
        RunStore(job.run.root).check_exists()
        if context.make_prune_check is not None and not job.is_finished():
            prune_check = context.make_prune_check(job.run)
        execute(replace(job, sweep=str(context.directory)), prune_check)
    except DeviceLost as error:
        log.error("%s", error)
        os._exit(1)  # a normal exit would use the GPU; the run is requeued
    except StoreGone:
        return False  # the sweep's process notices it, too, and says so once
    except (RunFailed, UserError) as error:
        log.error("%s", error)
        return False
    except Exception:
        log.error("%s", traceback.format_exc())
        return False
    return True


def _receive_jobs(connection: Connection, jobs: "queue.SimpleQueue[Job | None]") -> None:
    """Queue the jobs that arrive; when the connection ends, make the main thread save its run and exit."""
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        jobs.put(None)
        if hasattr(signal, "pthread_kill"):  # only a signal to the main thread interrupts a blocking call there
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _raise_interrupted(signum: int, _frame: FrameType | None) -> None:
    """Handle a signal outside of training, which has a handler of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the process is exiting already
    raise Interrupted(signum)


def _sender(connection: Connection) -> Callable[[Message], None]:
    """Return a thread-safe `connection.send`."""
    lock = threading.Lock()

    def send(message: Message) -> None:
        try:
            with lock:
                connection.send(message)
        except OSError:  # the sweep's process has died; _receive_jobs notices
            return

    return send


class _SendHandler(logging.Handler):
    """Sends log records to the sweep's process."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not record.name.startswith("crackdet"):
            return  # a launcher about itself
        self._send(LogMessage(record.name, record.levelno, record.getMessage(), getattr(record, "on_bar", False)))


def _redirect_output(path: Path, send: Callable[[Message], None]) -> None:
    """Write standard output, standard error and the log to a file, and send the log to the sweep's process."""
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "buffering": 1}
    try:
        file = path.open("a", **options)
    except OSError:  # the disk is full, or the folder is gone
        file = Path(os.devnull).open("a", **options)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file.fileno(), stream.fileno())
    file_handler = logging.StreamHandler(file)
    file_handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[file_handler, _SendHandler(send)])
    logging.getLogger("crackdet").setLevel(logging.INFO)
