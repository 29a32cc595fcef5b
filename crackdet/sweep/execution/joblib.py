"""`hydra/launcher=joblib`: `hydra.launcher.n_jobs` processes on this machine, started by joblib's loky."""

import re
from concurrent.futures import Future
from typing import Any

from joblib import effective_n_jobs
from joblib.externals.loky.backend import get_context
from joblib.externals.loky.process_executor import ProcessPoolExecutor

from crackdet.sweep.execution.launcher_backend import BackendTask, LocalLauncherBackend
from crackdet.sweep.execution.worker import WorkerSpec, remote_main


class _PoolTask(BackendTask):
    def __init__(self, pool: Any, future: "Future[None]") -> None:
        self._pool, self._future = pool, future

    def has_ended(self) -> bool:
        return self._future.done()

    def cancel(self) -> None:
        self._pool.shutdown(wait=False, kill_workers=True)

    def exit_reason(self) -> str:
        error = self._future.exception() if self._future.done() else None
        codes = re.search(r"\{(.*)\}", str(error))
        return f"was killed ({codes.group(1)})" if codes else f"ended ({error or 'by itself'})"


class JoblibBackend(LocalLauncherBackend):
    name = "joblib"

    def default_workers(self) -> int:
        return int(effective_n_jobs(self._launcher.joblib.get("n_jobs") or 1))

    def launch(self, spec: WorkerSpec) -> BackendTask:
        # one pool for each worker: loky ends all processes of a pool if one is killed
        pool = ProcessPoolExecutor(max_workers=1, context=get_context("loky"))
        return _PoolTask(pool, pool.submit(remote_main, spec))
