"""`hydra/launcher=submitit_local` and `submitit_slurm`: workers that are jobs of submitit.

On Slurm a worker trains run after run, so the queue is waited for once. A job that is preempted or near its time limit
saves its run; then Slurm requeues the job, or the pool submits another one. The local launcher starts processes on this
machine, to try out what Slurm would do.
"""

import contextlib
import io
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.core.machine import num_cores
from crackdet.sweep.execution.launcher_backend import BackendTask, LauncherBackend, LocalLauncherBackend
from crackdet.sweep.execution.resources import VISIBLE_GPUS, WorkerResources, visible_gpus
from crackdet.sweep.execution.worker import SweepContext, WorkerSpec, remote_main

QUERY_INTERVAL = 2.0  # seconds between two queries of Slurm
ALIVE = {  # states of squeue(1)
    "CONFIGURING", "COMPLETING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD",
    "RUNNING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED",
}  # fmt: skip


class _LocalTask(BackendTask):
    def __init__(self, job: Any) -> None:
        self._process: subprocess.Popen[bytes] = job._process

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def cancel(self) -> None:
        self._process.send_signal(signal.SIGTERM)  # submitit passes it on

    def exit_reason(self) -> str:
        return f"was killed, or ended (submitit: status {self._process.poll()})"


class SubmititLocalBackend(LocalLauncherBackend):
    name = "submitit"

    def __init__(self, launcher: Launcher, runtime: Runtime, context: SweepContext) -> None:
        super().__init__(launcher, runtime, context)
        _check_params(self._launcher.params)

    def default_workers(self) -> int:
        return num_cores()

    def resources(self, number: int) -> WorkerResources:
        allocated = super().resources(number)
        all_gpus = {VISIBLE_GPUS: ",".join(visible_gpus())}  # submitit hides all of them
        return WorkerResources(allocated.number, {**all_gpus, **allocated.environment})

    def launch(self, spec: WorkerSpec) -> BackendTask:
        return _LocalTask(_submit("local", self._launcher.params, spec))


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
        _check_params(self._launcher.params)
        self._states = _JobStates()

    def default_workers(self) -> int:
        return int(self._launcher.params["array_parallelism"])

    def prepare(self, num_workers: int) -> str:
        partition = self._launcher.params.get("partition")
        return f"Slurm: at most {num_workers} jobs at once" + (f" in {partition}" if partition else "")

    def launch(self, spec: WorkerSpec) -> BackendTask:
        return _SlurmTask(_submit("slurm", self._launcher.params, spec), self._states)


def _check_params(params: Mapping[str, Any]) -> None:
    """Raise UserError if the launcher would start several processes for one worker."""
    for name in ("nodes", "tasks_per_node"):
        if params.get(name, 1) != 1:
            raise UserError(f"hydra.launcher.{name}={params[name]}: must be 1, a worker is one process")


def _submit(cluster: str, params: Mapping[str, Any], spec: WorkerSpec) -> Any:
    """Submit a worker to `local` or `slurm` with the settings of the launcher; return submitit's job.

    Raises:
        UserError: If a worker cannot be submitted.
    """
    from submitit import AutoExecutor
    from submitit.core.utils import UncompletedJobError

    params = dict(params)
    folder, max_num_timeout = params.pop("submitit_folder"), params.pop("max_num_timeout", None)
    options = {} if max_num_timeout is None else {f"{cluster}_max_num_timeout": max_num_timeout}
    try:
        executor = AutoExecutor(folder=folder, cluster=cluster, **options)
        generic = executor._valid_parameters()
        executor.update_parameters(
            **{name if name in generic else f"{cluster}_{name}": value for name, value in params.items()}
        )
        with contextlib.redirect_stderr(io.StringIO()):  # the error has sbatch's message too
            return executor.submit(remote_main, spec)
    except (UncompletedJobError, RuntimeError, NameError, ValueError, AssertionError, OSError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"hydra/launcher=submitit_{cluster}: no job can be submitted: {text}") from None
