"""`hydra/launcher=submitit_local`: processes on this machine, started by submitit, to try out what Slurm would do."""

import signal
import subprocess
from typing import Any

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.core.machine import num_cores
from crackdet.sweep.execution.launcher_backend import BackendTask, LocalLauncherBackend
from crackdet.sweep.execution.remote import WorkerSpec
from crackdet.sweep.execution.resources import VISIBLE_GPUS, WorkerResources, visible_gpus
from crackdet.sweep.execution.submitit import check_params, submit
from crackdet.sweep.execution.worker import SweepContext


class _ProcessTask(BackendTask):
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
        check_params(self._launcher.params)

    def default_workers(self) -> int:
        return num_cores()

    def resources(self, number: int) -> WorkerResources:
        allocated = super().resources(number)
        all_gpus = {VISIBLE_GPUS: ",".join(visible_gpus())}  # submitit hides all of them
        return WorkerResources(allocated.number, {**all_gpus, **allocated.environment})

    def launch(self, spec: WorkerSpec) -> BackendTask:
        return _ProcessTask(submit("local", self._launcher.params, spec))
