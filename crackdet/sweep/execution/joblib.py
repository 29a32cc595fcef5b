"""hydra-joblib-launcher: `hydra.launcher.n_jobs` processes on this machine, by joblib's loky.

Each worker has a pool of its own: loky ends all processes of a pool in which one was killed.
"""

import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.sweep.execution.remote import BackendTask, LauncherBackend, WorkerSpec
from crackdet.sweep.execution.resources import WorkerResources, allocate, describe
from crackdet.sweep.execution.worker import SweepContext


class _Process(BackendTask):
    def __init__(self, pool: Any, future: "Future[None]") -> None:
        self._pool, self._future = pool, future

    def has_ended(self) -> bool:
        return self._future.done()

    def cancel(self) -> None:
        self._pool.shutdown(wait=False, kill_workers=True)

    def reason(self) -> str:
        error = self._future.exception() if self._future.done() else None
        codes = re.search(r"\{(.*)\}", str(error))
        return f"was killed ({codes.group(1)})" if codes else f"ended ({error or 'by itself'})"


class JoblibBackend(LauncherBackend):
    terminal = True

    def __init__(self, launcher: Launcher, runtime: Runtime, orders: SweepContext) -> None:
        super().__init__(orders)
        self._wanted = launcher.joblib.get("n_jobs")  # type: ignore[attr-defined]
        self._runtime = runtime

    def places(self) -> int:
        from joblib import effective_n_jobs

        wanted = self._runtime.parallel_runs if self._runtime.parallel_runs > 1 else self._wanted
        return int(effective_n_jobs(wanted or 1))

    def describe(self, size: int) -> str:
        self._seats = allocate(self._runtime, size)
        return f"joblib: {describe(self._seats)}"

    def seat(self, number: int) -> WorkerResources:
        return self._seats[(number - 1) % len(self._seats)]  # one that goes may still hold its number

    def begin(self, place: WorkerSpec, serve: Callable[[WorkerSpec], Any]) -> BackendTask:
        from joblib.externals.loky.backend import get_context
        from joblib.externals.loky.process_executor import ProcessPoolExecutor

        pool = ProcessPoolExecutor(max_workers=1, context=get_context("loky"))
        return _Process(pool, pool.submit(serve, place))
