"""An executor that keeps a pool of worker processes: sends them jobs, reads their messages, replaces those that die.

If a worker dies, its run continues on another worker from the last saved state. A signal to stop is passed on to the
workers, and the pool waits until they have saved their runs.
"""

import itertools
import logging
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

from crackdet.core.console import BarDisplay, BarState
from crackdet.core.errors import RunFailed, UserError
from crackdet.core.signals import Interrupted
from crackdet.running.job import Job
from crackdet.sweep.execution.backend import WorkerBackend, WorkerHandle
from crackdet.sweep.execution.executor import Executor, JobOutcome
from crackdet.sweep.execution.worker import JobDone, LogMessage, Preempted, Ready, SweepContext, log_file

log = logging.getLogger(__name__)

POLL_INTERVAL = 0.2  # seconds between two checks whether this process was asked to stop
SPAWN_RETRY_INTERVAL = 60.0  # seconds until a backend that could not start a worker is asked again
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _Worker:
    number: int
    handle: WorkerHandle
    job: Job | None = None
    is_ready: bool = False
    is_preempted: bool = False  # it may come back
    is_stopping: bool = False  # was asked to shut down
    idle_since: float = field(default_factory=time.monotonic)
    bars: BarDisplay = field(default_factory=BarDisplay)


class WorkerPool(Executor):
    """Runs jobs on the workers of a backend, at most `max_workers` of them."""

    def __init__(self, backend: WorkerBackend[Any], context: SweepContext, max_workers: int | None = None) -> None:
        self._backend, self._context, self._max_workers = backend, context, max_workers
        self._workers: list[_Worker] = []
        self._queue: deque[Job] = deque()
        self._num_lost: Counter[str] = Counter()  # workers lost while they trained a run, since it last made progress
        self._epochs: Counter[str] = Counter()  # of a run when its worker was last lost
        self._failed_starts = 0
        self._has_spawned = False
        self._next_spawn = 0.0  # time before which the backend is not asked again
        self._defer_signals = False
        self._signum: int | None = None

    def __enter__(self) -> "WorkerPool":
        self._old_handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        try:
            self._backend.__enter__()
            for number in STOP_SIGNALS:  # after the backend, since Ray installs handlers of its own
                signal.signal(number, self._on_signal)
            limits = [limit for limit in (self._max_workers, self._backend.max_workers()) if limit is not None]
            self.max_jobs = max(1, min(limits)) if limits else 1
            log.info("%s", self._backend.prepare(self.max_jobs))
            if self._backend.prestart:
                self._spawn(self.max_jobs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._shutdown()
        except Interrupted:  # by a second signal
            log.warning("leaving at once")
        finally:
            for worker in self._workers:
                worker.handle.kill()
            self._backend.__exit__(*error)
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)

    def submit(self, job: Job) -> None:
        self._queue.append(job)
        self._schedule()

    def wait(self) -> list[JobOutcome]:
        outcomes: list[JobOutcome] = []
        with self._signals_deferred():
            while not outcomes:
                outcomes = self._process_messages()
        return outcomes

    def idle(self, seconds: float) -> None:
        """Wait while there is no job to submit; workers that are idle for long are shut down."""
        end = time.monotonic() + seconds
        with self._signals_deferred():
            while (remaining := end - time.monotonic()) > 0:
                self._process_messages()
                if not self._workers:
                    time.sleep(min(remaining, POLL_INTERVAL))
        if self._signum is not None:
            raise Interrupted(self._signum)

    @contextmanager
    def _signals_deferred(self) -> Iterator[None]:
        """Let a first signal only set `_signum`, so that it does not interrupt the reading of a message."""
        self._defer_signals = True
        try:
            yield
        finally:
            self._defer_signals = False

    def _process_messages(self) -> list[JobOutcome]:
        """Handle what the workers send within a moment; return the jobs that have ended."""
        if self._signum is not None:
            raise Interrupted(self._signum)
        outcomes: list[JobOutcome] = []
        for worker in self._poll(self._workers):
            try:
                outcomes += self._on_message(worker)
            except EOFError:
                outcomes += self._on_exit(worker)
        self._schedule()
        return outcomes

    def _schedule(self) -> None:
        """Send queued jobs to free workers, start workers if there are too few, and shut down idle ones."""
        free = [
            worker
            for worker in self._workers
            if worker.job is None
            and not (worker.is_stopping or worker.is_preempted)
            and (worker.is_ready or self._backend.prestart)
        ]
        while self._queue and free:
            self._dispatch(free.pop(0), self._queue.popleft())
        starting = sum(not worker.is_ready and worker.job is None for worker in self._workers)
        active = sum(not worker.is_stopping for worker in self._workers)
        self._spawn(min(len(self._queue) - starting, (self.max_jobs or 1) - active))
        for worker in free:
            if worker.is_ready and time.monotonic() - worker.idle_since > self._backend.idle_timeout:
                worker.is_stopping = True
                worker.handle.shutdown(busy=False)

    def _spawn(self, count: int) -> None:
        """Start workers. If the backend refuses a worker that is not the first, log the reason and ask again later."""
        for _ in range(count):
            if time.monotonic() < self._next_spawn:
                return
            used = {worker.number for worker in self._workers}
            number = next(n for n in itertools.count(1) if n not in used)
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: a worker ignores the terminal's Ctrl-C
            try:
                self._workers.append(_Worker(number, self._backend.spawn(number)))
                self._has_spawned = True
            except UserError as error:
                if not self._has_spawned:
                    raise
                log.warning("%s; asking again in a minute", error)
                self._next_spawn = time.monotonic() + SPAWN_RETRY_INTERVAL
            finally:
                signal.signal(signal.SIGINT, handler)

    def _dispatch(self, worker: _Worker, job: Job) -> None:
        worker.job = job
        worker.handle.send(job)

    def _poll(self, workers: list[_Worker]) -> list[_Worker]:
        handles = self._backend.poll([worker.handle for worker in workers], POLL_INTERVAL)
        return [worker for worker in workers if worker.handle in handles]

    def _on_message(self, worker: _Worker) -> list[JobOutcome]:
        """Read and handle one message; raise EOFError if the worker has ended."""
        message = worker.handle.recv()
        if isinstance(message, BarState):
            worker.bars.draw(replace(message, description=f"[{worker.number}] {message.description}"))
        elif isinstance(message, LogMessage):
            text = f"[{worker.number}] {message.text}"
            logging.getLogger(message.name).log(message.level, "%s", text, extra={"on_bar": message.on_bar})
        elif isinstance(message, Ready):
            self._on_ready(worker, message)
        elif isinstance(message, Preempted):
            if not worker.is_stopping:
                return self._on_preempted(worker, message)
        elif isinstance(message, JobDone) and worker.job is not None:
            job, worker.job, worker.idle_since = worker.job, None, time.monotonic()
            return [JobOutcome(job, message.failed)]
        return []

    def _on_ready(self, worker: _Worker, message: Ready) -> None:
        if worker.is_preempted:
            log.info("worker %d is back (%s)", worker.number, message.location)
        worker.is_ready, worker.is_preempted, worker.idle_since = True, False, time.monotonic()
        if worker.job is not None and not self._backend.prestart:  # killed and restarted by its scheduler
            self._dispatch(worker, worker.job)

    def _on_preempted(self, worker: _Worker, message: Preempted) -> list[JobOutcome]:
        """Requeue the job of a worker that saved its run and ended because of a signal from outside."""
        log.warning("worker %d was preempted or has reached its time limit (%s)", worker.number, message.signal)
        worker.bars.clear()
        job, worker.job = worker.job, None
        worker.is_ready, worker.is_preempted = False, True
        return self._requeue(job) if job else []

    def _on_exit(self, worker: _Worker) -> list[JobOutcome]:
        """Remove a worker that has ended, and requeue its job."""
        worker.bars.clear()
        self._workers.remove(worker)
        job = worker.job
        if worker.is_stopping or (job is None and (worker.is_ready or worker.is_preempted)):
            return []
        when = f"while it trained {job.run.id}" if job else "before its first job"
        file = log_file(self._context, worker.number)
        log.error("worker %d %s %s; its log is %s", worker.number, worker.handle.exit_reason(), when, file)
        if job is not None:
            return self._requeue(job)
        self._failed_starts += 1
        if self._failed_starts > (self.max_jobs or 1):
            log.error("error: workers cannot be started")
            raise RunFailed("workers cannot be started")
        return []

    def _requeue(self, job: Job) -> list[JobOutcome]:
        """Queue the job of a lost worker again, or report it failed once its retries are used up."""
        run_id, epochs = job.run.id, len(job.run.snapshot().history)
        if epochs > self._epochs[run_id]:
            self._num_lost[run_id], self._epochs[run_id] = 0, epochs
        self._num_lost[run_id] += 1
        if self._num_lost[run_id] > max(1, job.config.runtime.max_attempts):
            return [JobOutcome(job, failed=True)]
        self._queue.appendleft(job)
        return []

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        is_second = self._signum is not None
        self._signum = signum
        if is_second or not self._defer_signals:
            raise Interrupted(signum)

    def _shutdown(self) -> None:
        """Ask all workers to end, and wait until the busy ones have saved their runs."""
        self._defer_signals = True
        busy = [worker for worker in self._workers if worker.job is not None]
        if busy:
            log.warning("stopping: %d runs are being saved (press again to leave at once)", len(busy))
        for worker in self._workers:
            worker.is_stopping = True
            worker.handle.shutdown(worker in busy)
        while busy:
            for worker in self._poll(busy):
                try:
                    self._on_message(worker)
                except EOFError:
                    busy.remove(worker)
