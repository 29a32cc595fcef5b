"""`hydra/launcher=submitit_slurm`: workers as jobs of Slurm, submitted by submitit.

A worker trains run after run, so the queue is waited for once. A job that is preempted or near its time limit saves its
run; then Slurm requeues the job, or the pool submits another one.
"""

import subprocess
import time
from typing import Any

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.sweep.execution.launcher_backend import BackendTask, LauncherBackend
from crackdet.sweep.execution.remote import WorkerSpec
from crackdet.sweep.execution.submitit import check_params, submit
from crackdet.sweep.execution.worker import SweepContext

QUERY_INTERVAL = 2.0  # seconds
ALIVE = {  # states of squeue(1)
    "CONFIGURING", "COMPLETING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD",
    "RUNNING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED",
}  # fmt: skip


class _JobStates:
    """The states of this user's jobs, by one query for all of them."""

    def __init__(self) -> None:
        self._queried_at = float("-inf")
        self._states: dict[str, str] = {}

    def get(self, job_id: str, submitted_at: float) -> str:
        """Return a state of squeue(1), GONE for an unknown job, PENDING for one submitted after the last query."""
        if time.monotonic() - self._queried_at > QUERY_INTERVAL:
            self._query()
        return self._states.get(job_id, "GONE" if submitted_at < self._queried_at else "PENDING")

    def _query(self) -> None:
        now = time.monotonic()
        command = ["squeue", "--me", "--noheader", "--states=all", "--format=%i %T"]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode == 0:  # else Slurm's controller is unreachable: keep the old states
            self._states = dict(row.split(maxsplit=1) for row in result.stdout.splitlines() if row.strip())
            self._queried_at = now


class _SlurmTask(BackendTask):
    def __init__(self, job: Any, states: _JobStates) -> None:
        self._id, self._states, self._submitted_at = str(job.job_id), states, time.monotonic()

    def has_ended(self) -> bool:
        return self._states.get(self._id, self._submitted_at) not in ALIVE

    def cancel(self) -> None:
        subprocess.run(["scancel", self._id], check=False, capture_output=True)

    def exit_reason(self) -> str:
        return f"of job {self._id} ended ({self._states.get(self._id, self._submitted_at).lower()})"


class SlurmBackend(LauncherBackend):
    def __init__(self, launcher: Launcher, runtime: Runtime, context: SweepContext) -> None:
        super().__init__(launcher, runtime, context)
        check_params(self._launcher.params)
        self._states = _JobStates()

    def default_workers(self) -> int:
        return int(self._launcher.params["array_parallelism"])

    def prepare(self, num_workers: int) -> str:
        partition = self._launcher.params.get("partition")
        return f"Slurm: at most {num_workers} jobs at once" + (f" in {partition}" if partition else "")

    def launch(self, spec: WorkerSpec) -> BackendTask:
        return _SlurmTask(submit("slurm", self._launcher.params, spec), self._states)
