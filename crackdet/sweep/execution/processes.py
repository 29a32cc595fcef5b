"""Workers that are processes of this sweep: `runtime.parallel_runs` without a launcher."""

import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing import connection as connections
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.running.job import Job
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.resources import allocate, describe
from crackdet.sweep.execution.worker import Message, SweepContext, local_main

GRACE_PERIOD = 5.0  # seconds until an idle worker that was shut down is killed


class LocalWorker(WorkerHandle):
    """A child process at the other end of a pipe."""

    def __init__(self, process: SpawnProcess, connection: Connection) -> None:
        self.process, self.connection = process, connection
        self._kill_at = 0.0

    def send(self, job: Job) -> None:
        try:
            self.connection.send(job)
        except OSError:
            return  # the worker has died

    def recv(self) -> Message:
        try:
            message: Message = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        return message

    def shutdown(self, busy: bool) -> None:
        if busy:
            self.process.terminate()
        else:
            self.connection.close()
            self._kill_at = time.monotonic() + GRACE_PERIOD

    def kill(self) -> None:
        self.process.join(max(0.0, self._kill_at - time.monotonic()))
        self.process.kill()
        self.process.join()

    def exit_reason(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


class ProcessBackend(WorkerBackend[LocalWorker]):
    """Spawns child processes, which import torch while the sweep checks its networks."""

    prestart = True

    def __init__(self, launcher: Launcher, runtime: Runtime, context: SweepContext) -> None:
        self._resources, self._context = allocate(runtime), context

    def max_workers(self) -> int:
        return len(self._resources)

    def prepare(self, num_workers: int) -> str:
        return describe(self._resources[:num_workers])

    def spawn(self, number: int) -> LocalWorker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=local_main, args=(theirs, self._resources[number - 1], self._context), name=f"worker {number}"
        )
        process.start()
        theirs.close()
        return LocalWorker(process, ours)

    def poll(self, handles: Sequence[LocalWorker], timeout: float) -> list[LocalWorker]:
        ready = connections.wait([handle.connection for handle in handles], timeout)
        return [handle for handle in handles if handle.connection in ready]
