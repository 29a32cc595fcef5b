"""`runtime.workers` processes of our own, which train the jobs of one sweep on this machine.

Each takes the next job when it has ended one. A worker that is killed costs the epochs since its run was saved: the
one that takes its place goes on with the run. A signal to stop is passed on, and waited for.
"""

import logging
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import connection as connections
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType, TracebackType

from crackdet.console import Board, Drawing
from crackdet.errors import RunFailed
from crackdet.schema import Runtime
from crackdet.store import Run
from crackdet.sweep.crew.crew import Crew, Ended
from crackdet.sweep.crew.seats import Seat, describe, seats
from crackdet.sweep.crew.worker import Message, Orders, Said, log_file, work
from crackdet.sweep.job import Job
from crackdet.training.interrupt import Interrupted

log = logging.getLogger(__name__)

POLL = 0.2  # seconds between two looks whether this process was asked to stop
GRACE = 5.0  # seconds that an idle worker has to go by itself
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _Worker:
    seat: Seat
    process: SpawnProcess
    connection: Connection
    job: Job | None = None
    board: Board = field(default_factory=Board)


class Workers(Crew):
    """As many workers as `most` or `runtime.workers`, whichever is less."""

    def __init__(self, runtime: Runtime, orders: Orders, most: int | None = None) -> None:
        places = seats(runtime)
        self._seats = places if most is None else places[: max(1, most)]
        self.size = len(self._seats)
        self._terms = orders
        self._workers: list[_Worker] = []
        self._deaths: Counter[str] = Counter()
        self._patient = False  # a signal waits until a message has been read whole
        self._signum: int | None = None

    def __enter__(self) -> "Workers":
        self._before = {number: signal.signal(number, self._asked_to_stop) for number in SIGNALS}
        log.info("%s", describe(self._seats))
        self._workers = [self._hire(seat) for seat in self._seats]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._dismiss()
        except Interrupted:  # asked a second time
            log.warning("leaving at once")
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def start(self, job: Job) -> None:
        self._give(next(worker for worker in self._workers if worker.job is None), job)

    def wait(self) -> list[Ended]:
        ended: list[Ended] = []
        self._patient = True
        try:
            while not ended:
                if self._signum is not None:
                    raise Interrupted(self._signum)
                for worker in self._with_news(self._workers):
                    try:
                        ended += self._hear(worker)
                    except EOFError:
                        ended += self._replace(worker)
        finally:
            self._patient = False
        return ended

    def _hire(self, seat: Seat) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, seat, self._terms), name=f"worker {seat.number}")
        process.start()
        theirs.close()
        return _Worker(seat, process, ours)

    def _give(self, worker: _Worker, job: Job) -> None:
        worker.job = job
        try:
            worker.connection.send(replace(job, run=Run(job.run.directory)))  # without what is known of it so far
        except OSError:
            return  # it has died, and is found dead

    def _with_news(self, workers: Sequence[_Worker]) -> list[_Worker]:
        ready = connections.wait([worker.connection for worker in workers], POLL)
        return [worker for worker in workers if worker.connection in ready]

    def _hear(self, worker: _Worker) -> list[Ended]:
        """Takes one message of a worker; its job, where the message is that it has ended.

        Raises:
            EOFError: where it has died.
        """
        try:
            message: Message = worker.connection.recv()
        except OSError as error:
            raise EOFError from error
        if isinstance(message, Drawing):
            worker.board.draw(replace(message, description=f"[{worker.seat.number}] {message.description}"))
        elif isinstance(message, Said):
            text = f"[{worker.seat.number}] {message.text}"
            logging.getLogger(message.name).log(message.level, "%s", text, extra={"on_bar": message.on_bar})
        elif worker.job is not None:
            job, worker.job = worker.job, None
            return [Ended(job, message.failed)]
        return []

    def _replace(self, worker: _Worker) -> list[Ended]:
        """Puts another in the place of a worker that died, and lets it go on with the job, but not for ever."""
        worker.process.join()
        worker.board.clear()
        self._workers.remove(worker)
        job, code = worker.job, worker.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        where = f"while it trained {job.run.id}" if job else "before it had a job"
        log.error("worker %d %s %s; its log is %s", worker.seat.number, how, where, log_file(self._terms, worker.seat))
        self._deaths[job.run.id if job else ""] += 1
        if self._deaths[""] > len(self._seats):
            raise RunFailed("workers cannot be started")
        replacement = self._hire(worker.seat)
        self._workers.append(replacement)
        if job is not None and self._deaths[job.run.id] > max(1, job.config.runtime.retry_failed):
            return [Ended(job, failed=True)]
        if job is not None:
            self._give(replacement, job)
        return []

    def _asked_to_stop(self, signum: int, _frame: FrameType | None) -> None:
        again = self._signum is not None
        self._signum = signum
        if again or not self._patient:
            raise Interrupted(signum)

    def _dismiss(self) -> None:
        """Sends all workers home: busy ones save their state first, and what they say of it is heard."""
        self._patient = True
        busy = [worker for worker in self._workers if worker.job is not None]
        if busy:
            log.warning("stopping: %d runs are being saved (again: leave at once)", len(busy))
        for worker in self._workers:
            if worker in busy:
                worker.process.terminate()
            else:
                worker.connection.close()
        while busy:
            for worker in self._with_news(busy):
                try:
                    self._hear(worker)
                except EOFError:
                    busy.remove(worker)
        until = time.monotonic() + GRACE
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
