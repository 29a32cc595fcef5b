"""A crew of workers in other processes: gives them jobs, hears them, and replaces those that die.

Each takes the next job when it has ended one. A worker that is killed costs the epochs since its run was saved: the
one that takes its place goes on with the run. A signal to stop is passed on, and waited for.
"""

import logging
import signal
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from types import FrameType, TracebackType
from typing import Any

from crackdet.core.console import BarDisplay, BarState
from crackdet.core.errors import RunFailed, UserError
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.executor import Executor, JobOutcome
from crackdet.sweep.execution.worker import LogMessage, Preempted, Ready, SweepContext, log_file

log = logging.getLogger(__name__)

POLL = 0.2  # seconds between two looks whether this process was asked to stop
PAUSE = 60.0  # seconds until an agency that had no worker to give is asked again
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _Worker:
    number: int
    line: WorkerHandle
    job: Job | None = None
    ready: bool = False
    left: bool = False  # for a while, or for good
    dismissed: bool = False
    busy_until: float = field(default_factory=time.monotonic)  # when it had a job last
    board: BarDisplay = field(default_factory=BarDisplay)


class WorkerPool(Executor):
    """At most `most` workers of an agency."""

    def __init__(self, agency: WorkerBackend[Any], orders: SweepContext, most: int | None = None) -> None:
        self._agency, self._orders, self._most = agency, orders, most
        self._workers: list[_Worker] = []
        self._waiting: deque[Job] = deque()
        self._deaths: Counter[str] = Counter()
        self._epochs: Counter[str] = Counter()  # of a run when its worker died last
        self._has_hired = False
        self._hire_again = 0.0  # not before: an agency had none to give
        self._patient = False  # a signal waits until a message has been read whole
        self._signum: int | None = None

    def __enter__(self) -> "WorkerPool":
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        try:
            self._agency.__enter__()
            for number in SIGNALS:  # after the agency: Ray has a handler of its own
                signal.signal(number, self._asked_to_stop)
            places = [limit for limit in (self._most, self._agency.places()) if limit is not None]
            self.size = max(1, min(places)) if places else 1
            log.info("%s", self._agency.describe(self.size))
            if self._agency.early:
                self._hire_more(self.size)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._dismiss_all()
        except Interrupted:  # asked a second time
            log.warning("leaving at once")
        finally:
            for worker in self._workers:
                worker.line.kill()
            self._agency.__exit__(kind, error, traceback)
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def start(self, job: Job) -> None:
        self._waiting.append(job)
        self._assign()

    def wait(self) -> list[JobOutcome]:
        ended: list[JobOutcome] = []
        self._patient = True
        try:
            while not ended:
                ended += self._listen()
        finally:
            self._patient = False
        return ended

    def idle(self, seconds: float) -> None:
        """As of any crew; who has been without a job for long is sent home."""
        end = time.monotonic() + seconds
        self._patient = True
        try:
            while (left := end - time.monotonic()) > 0:
                self._listen()
                if not self._workers:
                    time.sleep(min(left, POLL))
        finally:
            self._patient = False
        if self._signum is not None:
            raise Interrupted(self._signum)

    def _listen(self) -> list[JobOutcome]:
        """What the workers say within a moment."""
        if self._signum is not None:
            raise Interrupted(self._signum)
        ended: list[JobOutcome] = []
        for worker in self._with_news(self._workers):
            try:
                ended += self._hear(worker)
            except EOFError:
                ended += self._lose(worker)
        self._assign()
        return ended

    def _assign(self) -> None:
        """Gives waiting jobs to workers that are free, has more hired where there are too few, or sends some home."""
        early = self._agency.early
        free = [w for w in self._workers if w.job is None and not (w.dismissed or w.left) and (w.ready or early)]
        while self._waiting and free:
            self._give(free.pop(0), self._waiting.popleft())
        coming = sum(not worker.ready and worker.job is None for worker in self._workers)
        there = sum(not worker.dismissed for worker in self._workers)
        self._hire_more(min(len(self._waiting) - coming, (self.size or 1) - there))
        for worker in free:
            if worker.ready and time.monotonic() - worker.busy_until > self._agency.patience:
                worker.dismissed = True
                worker.line.dismiss(busy=False)

    def _hire_more(self, number: int) -> None:
        """So many workers; where none can be had just now, that is told and asked again later.

        Raises:
            UserError: where none could be had from the beginning.
        """
        for _ in range(number):
            if time.monotonic() < self._hire_again:
                return
            try:
                self._hire()
            except UserError as error:
                if not self._has_hired:
                    raise
                log.warning("%s; asking again in a minute", error)
                self._hire_again = time.monotonic() + PAUSE
            else:
                self._has_hired = True

    def _hire(self) -> None:
        number = next(n for n in range(1, len(self._workers) + 2) if all(n != w.number for w in self._workers))
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: the terminal's Ctrl-C is not for them
        try:
            self._workers.append(_Worker(number, self._agency.hire(number)))
        finally:
            signal.signal(signal.SIGINT, before)

    def _give(self, worker: _Worker, job: Job) -> None:
        worker.job = job
        worker.line.send(job)

    def _with_news(self, workers: list[_Worker]) -> list[_Worker]:
        lines = self._agency.with_news([worker.line for worker in workers], POLL)
        return [worker for worker in workers if worker.line in lines]

    def _hear(self, worker: _Worker) -> list[JobOutcome]:
        """Takes one message of a worker; its job, where the message is that it has ended.

        Raises:
            EOFError: where it has died.
        """
        message = worker.line.hear()
        if isinstance(message, BarState):
            worker.board.draw(replace(message, description=f"[{worker.number}] {message.description}"))
        elif isinstance(message, LogMessage):
            text = f"[{worker.number}] {message.text}"
            logging.getLogger(message.name).log(message.level, "%s", text, extra={"on_bar": message.on_bar})
        elif isinstance(message, Ready):
            if worker.left:
                log.info("worker %d is back (%s)", worker.number, message.where)
            worker.ready, worker.left, worker.busy_until = True, False, time.monotonic()
            if worker.job is not None and not self._agency.early:  # it was killed and started anew: unheard until now
                self._give(worker, worker.job)
        elif isinstance(message, Preempted):
            if not worker.dismissed:
                return self._let_go(worker, message)
        elif worker.job is not None:
            job, worker.job, worker.busy_until = worker.job, None, time.monotonic()
            return [JobOutcome(job, message.failed)]
        return []

    def _let_go(self, worker: _Worker, message: Preempted) -> list[JobOutcome]:
        """A worker that others sent away, its run saved: whoever is free goes on with it."""
        log.warning(
            "worker %d was told to go (%s): it was preempted, or its time is over", worker.number, message.signal
        )
        worker.board.clear()
        job, worker.job = worker.job, None
        worker.ready, worker.left = False, True
        return self._take_back(job) if job else []

    def _lose(self, worker: _Worker) -> list[JobOutcome]:
        """Forgets a worker that has ended; its run is gone on with by another one."""
        worker.board.clear()
        self._workers.remove(worker)
        job = worker.job
        if worker.dismissed or (job is None and (worker.ready or worker.left)):
            return []
        where = f"while it trained {job.run.id}" if job else "before it had a job"
        log.error(
            "worker %d %s %s; its log is %s",
            worker.number, worker.line.end(), where, log_file(self._orders, worker.number),
        )  # fmt: skip
        if job is not None:
            return self._take_back(job)
        self._deaths[""] += 1
        if self._deaths[""] > (self.size or 1):
            log.error("error: workers cannot be started")
            raise RunFailed("workers cannot be started")
        return []

    def _take_back(self, job: Job) -> list[JobOutcome]:
        """A job whose worker is no more waits for another one, but not for ever: the job, where it has had enough."""
        epochs = len(job.run.snapshot().history)
        if epochs > self._epochs[job.run.id]:  # it came further: what was before does not count
            self._deaths[job.run.id], self._epochs[job.run.id] = 0, epochs
        self._deaths[job.run.id] += 1
        if self._deaths[job.run.id] > max(1, job.config.runtime.max_attempts):
            return [JobOutcome(job, failed=True)]
        self._waiting.appendleft(job)
        return []

    def _asked_to_stop(self, signum: int, _frame: FrameType | None) -> None:
        again = self._signum is not None
        self._signum = signum
        if again or not self._patient:
            raise Interrupted(signum)

    def _dismiss_all(self) -> None:
        """Sends all workers home: busy ones save their state first, and what they say of it is heard."""
        self._patient = True
        busy = [worker for worker in self._workers if worker.job is not None]
        if busy:
            log.warning("stopping: %d runs are being saved (again: leave at once)", len(busy))
        for worker in self._workers:
            worker.dismissed = True
            worker.line.dismiss(worker in busy)
        while busy:
            for worker in self._with_news(busy):
                try:
                    self._hear(worker)
                except EOFError:
                    busy.remove(worker)
