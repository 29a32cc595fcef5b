"""`runtime.parallel_runs` processes of our own on this machine."""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing import connection as connections
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from crackdet.config.schema import Runtime
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.resources import WorkerResources, allocate, describe
from crackdet.sweep.execution.worker import Message, SweepContext, leave_terminal, worker_loop

GRACE = 5.0  # seconds that an idle worker has to go by itself


class LocalWorker(WorkerHandle):
    """A worker at the other end of a pipe."""

    def __init__(self, process: SpawnProcess, connection: Connection) -> None:
        self.process, self.connection = process, connection
        self._until = 0.0

    def send(self, job: Job) -> None:
        try:
            self.connection.send(job)
        except OSError:
            return  # it has died, and is found dead

    def hear(self) -> Message:
        try:
            message: Message = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        return message

    def dismiss(self, busy: bool) -> None:
        if busy:
            self.process.terminate()
        else:
            self.connection.close()
            self._until = time.monotonic() + GRACE

    def kill(self) -> None:
        self.process.join(max(0.0, self._until - time.monotonic()))
        self.process.kill()
        self.process.join()

    def end(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


class ProcessBackend(WorkerBackend[LocalWorker]):
    """Spawns workers, which import torch while the sweep still looks at its networks."""

    early = True

    def __init__(self, runtime: Runtime, orders: SweepContext) -> None:
        self._seats, self._orders = allocate(runtime), orders

    def places(self) -> int:
        return len(self._seats)

    def describe(self, size: int) -> str:
        return describe(self._seats[:size])

    def hire(self, number: int) -> LocalWorker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=local_main, args=(theirs, self._seats[number - 1], self._orders), name=f"worker {number}"
        )
        process.start()
        theirs.close()
        return LocalWorker(process, ours)

    def with_news(self, lines: Sequence[LocalWorker], seconds: float) -> list[LocalWorker]:
        ready = connections.wait([line.connection for line in lines], seconds)
        return [line for line in lines if line.connection in ready]


def local_main(connection: Connection, seat: WorkerResources, orders: SweepContext) -> None:
    """The life of a spawned worker."""
    leave_terminal()
    try:
        worker_loop(connection, seat, orders, early=True)
    except Interrupted as stop:
        os._exit(stop.exit_status)  # at once: torch takes a while to be torn down, and all is saved
