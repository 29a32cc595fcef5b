"""The base of the backends that start workers through one of Hydra's launchers.

A launcher only starts workers and says which have ended; jobs and messages travel through files in the sweep's folder.
So a launcher cannot hide errors, stop all workers when one dies, or make them wait for a whole batch.
"""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.running.job import Job
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.file_connection import POLL_INTERVAL, ConnectionDir
from crackdet.sweep.execution.resources import WorkerResources, allocate, describe
from crackdet.sweep.execution.worker import Message, Ready, SweepContext, WorkerSpec


class BackendTask(ABC):
    """A worker as its launcher sees it."""

    @abstractmethod
    def has_ended(self) -> bool: ...

    @abstractmethod
    def cancel(self) -> None:
        """Stop the worker, or withdraw it from the queue if it has not started."""

    @abstractmethod
    def exit_reason(self) -> str:
        """Return how the task ended as far as the launcher knows, such as `was killed (SIGKILL)`."""


class RemoteWorker(WorkerHandle):
    """A worker that is connected through files."""

    def __init__(self, connections: ConnectionDir, name: str, task: BackendTask) -> None:
        self._connection = connections.connect_to_worker(name)
        self._task = task
        self._location = ""  # known once the worker has started
        self._exits_itself = False

    def send(self, job: Job) -> None:
        self._connection.send(job)

    def recv(self) -> Message:
        if not self._connection.poll():
            self._connection.close()  # in case the worker lives although its task has ended
            raise EOFError
        message: Message = self._connection.recv()
        if isinstance(message, Ready):
            self._location = message.location
        return message

    def poll(self) -> bool:
        return self._connection.poll() or self._task.has_ended()

    def shutdown(self, busy: bool) -> None:
        self._connection.close()
        self._exits_itself = not busy and bool(self._location)
        if not self._location:
            self._task.cancel()

    def kill(self) -> None:
        if not self._exits_itself and not self._task.has_ended():
            self._task.cancel()

    def exit_reason(self) -> str:
        return f"{f'({self._location}) ' if self._location else ''}{self._task.exit_reason()}"


class LauncherBackend(WorkerBackend[RemoteWorker]):
    """Starts workers through a launcher."""

    idle_timeout = 30.0  # the resources of an idle worker may be of use to others
    shares_terminal = False  # whether workers run in the terminal of the sweep

    def __init__(self, launcher: Launcher, runtime: Runtime, context: SweepContext) -> None:
        self._launcher: Any = launcher  # each class has its own settings
        self._runtime, self._context = runtime, context
        self._connections = ConnectionDir(context.directory)
        self._spawned = 0

    def __enter__(self) -> "LauncherBackend":
        self._connections.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    @abstractmethod
    def default_workers(self) -> int:
        """Return how many workers to run at once if `runtime.parallel_runs` is 1."""

    @abstractmethod
    def launch(self, spec: WorkerSpec) -> BackendTask:
        """Have the launcher call `remote_main(spec)`.

        Raises:
            UserError: If the launcher refuses.
        """

    def resources(self, number: int) -> WorkerResources:
        """Return the resources of the worker with this number; by default what the launcher gives it."""
        return WorkerResources(number, {})

    def max_workers(self) -> int:
        return self._runtime.parallel_runs if self._runtime.parallel_runs > 1 else self.default_workers()

    def spawn(self, number: int) -> RemoteWorker:
        self._spawned += 1
        spec = WorkerSpec(
            name=str(self._spawned),
            connections=self._connections.folder,
            resources=self.resources(number),
            context=self._context,
            working_directory=str(Path.cwd()),
            python_path=sys.path,
            shares_terminal=self.shares_terminal,
        )
        return RemoteWorker(self._connections, spec.name, self.launch(spec))

    def poll(self, handles: Sequence[RemoteWorker], timeout: float) -> list[RemoteWorker]:
        end = time.monotonic() + timeout
        while not (ready := [handle for handle in handles if handle.poll()]) and time.monotonic() < end:
            time.sleep(POLL_INTERVAL)
        return ready


class LocalLauncherBackend(LauncherBackend):
    """Starts workers on this machine, which divide its GPUs and cores."""

    name: str
    shares_terminal = True

    def prepare(self, num_workers: int) -> str:
        self._resources = allocate(self._runtime, num_workers)
        return f"{self.name}: {describe(self._resources)}"

    def resources(self, number: int) -> WorkerResources:
        return self._resources[(number - 1) % len(self._resources)]  # a worker that is exiting keeps its number
