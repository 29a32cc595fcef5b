"""hydra-submitit-launcher: workers as jobs of Slurm (`submitit_slurm`), or as processes here (`submitit_local`).

A job of Slurm is a worker, which trains run after run, so that the queue is waited for once. Where it is preempted or
its time is nearly over it saves its run: Slurm starts it again, or it has ended and another one is submitted.
"""

import contextlib
import io
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.core.machine import num_cores
from crackdet.sweep.execution.remote import BackendTask, LauncherBackend, WorkerSpec
from crackdet.sweep.execution.resources import GPUS, WorkerResources, allocate, describe, visible_gpus
from crackdet.sweep.execution.worker import SweepContext

LOOK = 2.0  # seconds between two questions to Slurm
ALIVE = {  # of squeue(1)'s states
    "CONFIGURING", "COMPLETING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD",
    "RUNNING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED",
}  # fmt: skip


class _SubmititAgency(LauncherBackend):
    """What both have in common."""

    cluster: str

    def __init__(self, launcher: Launcher, runtime: Runtime, orders: SweepContext) -> None:
        super().__init__(orders)
        self._params: dict[str, Any] = launcher.params  # type: ignore[attr-defined]
        self._runtime = runtime
        for name in ("nodes", "tasks_per_node"):
            if self._params.get(name, 1) != 1:
                raise UserError(f"hydra.launcher.{name}={self._params[name]}: must be 1, a worker is one process")

    def submit(self, function: Callable[[WorkerSpec], Any], place: WorkerSpec) -> Any:
        """A job of submitit.

        Raises:
            UserError: where it cannot be submitted.
        """
        from submitit import AutoExecutor
        from submitit.core.utils import UncompletedJobError

        params = dict(self._params)
        folder, timeouts = params.pop("submitit_folder"), params.pop("max_num_timeout", None)
        own = {} if timeouts is None else {f"{self.cluster}_max_num_timeout": timeouts}
        try:
            executor = AutoExecutor(folder=folder, cluster=self.cluster, **own)
            generic = executor._valid_parameters()
            executor.update_parameters(
                **{name if name in generic else f"{self.cluster}_{name}": value for name, value in params.items()}
            )
            with contextlib.redirect_stderr(io.StringIO()):  # sbatch's words come with the error too
                return executor.submit(function, place)
        except (UncompletedJobError, RuntimeError, NameError, ValueError, AssertionError, OSError) as error:
            text = " ".join(str(error).split())
            raise UserError(f"hydra/launcher=submitit_{self.cluster}: no job can be submitted: {text}") from None


class _Process(BackendTask):
    def __init__(self, job: Any) -> None:
        self._process: subprocess.Popen[bytes] = job._process

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def cancel(self) -> None:
        self._process.send_signal(signal.SIGTERM)  # submitit passes it on

    def reason(self) -> str:
        return f"was killed, or ended (submitit: status {self._process.poll()})"


class SubmititLocalBackend(_SubmititAgency):
    cluster = "local"
    terminal = True

    def places(self) -> int:
        return self._runtime.parallel_runs if self._runtime.parallel_runs > 1 else num_cores()

    def describe(self, size: int) -> str:
        self._seats = allocate(self._runtime, size)
        return f"submitit: {describe(self._seats)}"

    def seat(self, number: int) -> WorkerResources:
        taken = self._seats[(number - 1) % len(self._seats)]
        everything = {GPUS: ",".join(visible_gpus())}  # submitit hides all of them
        return WorkerResources(taken.number, {**everything, **taken.environment})

    def begin(self, place: WorkerSpec, serve: Callable[[WorkerSpec], Any]) -> BackendTask:
        return _Process(self.submit(serve, place))


class _SlurmJob(BackendTask):
    def __init__(self, job: Any, states: "_States") -> None:
        self._id, self._states, self._since = str(job.job_id), states, time.monotonic()

    def has_ended(self) -> bool:
        return self._states.of(self._id, self._since) not in ALIVE

    def cancel(self) -> None:
        subprocess.run(["scancel", self._id], check=False, capture_output=True)

    def reason(self) -> str:
        return f"of job {self._id} ended ({self._states.of(self._id, self._since).lower()})"


class _States:
    """The states of this user's jobs, asked for all of them at once, and not too often."""

    def __init__(self) -> None:
        self._asked = float("-inf")
        self._known: dict[str, str] = {}

    def of(self, job: str, since: float) -> str:
        """A state of squeue(1), or GONE; of a job that was submitted after the last question: PENDING."""
        if time.monotonic() - self._asked > LOOK:
            self._ask()
        return self._known.get(job, "GONE" if since < self._asked else "PENDING")

    def _ask(self) -> None:
        now = time.monotonic()
        line = ["squeue", "--me", "--noheader", "--states=all", "--format=%i %T"]
        asked = subprocess.run(line, check=False, capture_output=True, text=True)
        if asked.returncode == 0:  # else its controller is away, and nothing is known anew
            self._known = dict(row.split(maxsplit=1) for row in asked.stdout.splitlines() if row.strip())
            self._asked = now


class SlurmBackend(_SubmititAgency):
    cluster = "slurm"

    def __init__(self, launcher: Launcher, runtime: Runtime, orders: SweepContext) -> None:
        super().__init__(launcher, runtime, orders)
        self._states = _States()

    def places(self) -> int:
        return (
            self._runtime.parallel_runs if self._runtime.parallel_runs > 1 else int(self._params["array_parallelism"])
        )

    def describe(self, size: int) -> str:
        partition = self._params.get("partition")
        return f"Slurm: at most {size} jobs at once" + (f" in {partition}" if partition else "")

    def begin(self, place: WorkerSpec, serve: Callable[[WorkerSpec], Any]) -> BackendTask:
        return _SlurmJob(self.submit(serve, place), self._states)
