"""`hydra/launcher=ray`: workers as tasks of a Ray cluster, or of one that is started on this machine."""

from typing import Any

import ray
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.sweep.execution.launcher_backend import BackendTask, LauncherBackend
from crackdet.sweep.execution.worker import SweepContext, WorkerSpec, remote_main

OPTIONS = {"max_retries": 0, "max_calls": 1}  # the pool replaces dead workers; each worker has its own process


class _RayTask(BackendTask):
    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def has_ended(self) -> bool:
        return bool(ray.wait([self._reference], timeout=0)[0])

    def cancel(self) -> None:
        ray.cancel(self._reference, force=True)

    def exit_reason(self) -> str:
        try:
            ray.get(self._reference, timeout=0)
        except Exception as error:
            return f"was killed, or ended ({type(error).__name__})"
        return "ended by itself"


class RayBackend(LauncherBackend):
    def __init__(self, launcher: Launcher, runtime: Runtime, context: SweepContext) -> None:
        super().__init__(launcher, runtime, context)
        settings = self._launcher.ray_cfg
        self._init: dict[str, Any] = OmegaConf.to_container(settings.init, resolve=True)  # type: ignore[assignment]
        self._remote: dict[str, Any] = OmegaConf.to_container(settings.remote, resolve=True)  # type: ignore[assignment]

    def __enter__(self) -> "RayBackend":
        try:
            ray.init(**self._init)
        except (ConnectionError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"hydra/launcher=ray: Ray cannot be used: {' '.join(str(error).split())}") from None
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        ray.shutdown()

    def default_workers(self) -> int:
        """Return how many workers fit into the cluster at once."""
        available = ray.cluster_resources()
        required = {
            "CPU": self._remote.get("num_cpus", 1),
            "GPU": self._remote.get("num_gpus"),
            "memory": self._remote.get("memory"),
            **(self._remote.get("resources") or {}),
        }
        fitting = {name: int(available.get(name, 0) // amount) for name, amount in required.items() if amount}
        missing = [
            f"it has {available.get(name, 0):g} {name}, a worker needs {required[name]:g}"
            for name, count in fitting.items()
            if not count
        ]
        if missing:
            raise UserError(
                f"hydra.launcher.ray.remote: the cluster is too small for one worker: {'; '.join(missing)}; "
                "if the cluster grows on demand, set the number of workers: runtime.parallel_runs=8"
            )
        return min(fitting.values(), default=1)

    def prepare(self, num_workers: int) -> str:
        nodes = sum(node["Alive"] for node in ray.nodes())
        return f"Ray: {num_workers} workers on {nodes} node{'s' * (nodes != 1)}"

    def launch(self, spec: WorkerSpec) -> BackendTask:
        return _RayTask(ray.remote(**{**self._remote, **OPTIONS})(remote_main).remote(spec))
