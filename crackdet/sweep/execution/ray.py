"""hydra-ray-launcher: workers as tasks of a Ray cluster, or of one that is started on this machine.

Ray is told not to retry: a worker that dies is replaced here, where it is known how often that has happened.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.sweep.execution.remote import BackendTask, LauncherBackend, WorkerSpec
from crackdet.sweep.execution.worker import SweepContext

ONCE = {"max_retries": 0, "max_calls": 1}  # a worker is a process of its own, and is not started again


class _RayTask(BackendTask):
    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def has_ended(self) -> bool:
        import ray

        return bool(ray.wait([self._reference], timeout=0)[0])

    def cancel(self) -> None:
        import ray

        ray.cancel(self._reference, force=True)

    def reason(self) -> str:
        import ray

        try:
            ray.get(self._reference, timeout=0)
        except Exception as error:
            return f"was killed, or ended ({type(error).__name__})"
        return "ended by itself"


class RayBackend(LauncherBackend):
    def __init__(self, launcher: Launcher, runtime: Runtime, orders: SweepContext) -> None:
        super().__init__(orders)
        cfg = launcher.ray_cfg  # type: ignore[attr-defined]
        self._init: dict[str, Any] = OmegaConf.to_container(cfg.init, resolve=True)  # type: ignore[assignment]
        self._remote: dict[str, Any] = OmegaConf.to_container(cfg.remote, resolve=True)  # type: ignore[assignment]
        self._runtime = runtime

    def __enter__(self) -> "RayBackend":
        import ray

        try:
            ray.init(**self._init)
        except (ConnectionError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"hydra/launcher=ray: Ray cannot be used: {' '.join(str(error).split())}") from None
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import ray

        super().__exit__(kind, error, traceback)
        ray.shutdown()

    def places(self) -> int:
        import ray

        if self._runtime.parallel_runs > 1:
            return self._runtime.parallel_runs
        there = ray.cluster_resources()
        wanted = {
            "CPU": self._remote.get("num_cpus", 1),
            "GPU": self._remote.get("num_gpus"),
            "memory": self._remote.get("memory"),
            **(self._remote.get("resources") or {}),
        }
        fit = {name: int(there.get(name, 0) // amount) for name, amount in wanted.items() if amount}
        lacking = [
            f"{there.get(name, 0):g} of {name}, not {wanted[name]:g}" for name, count in fit.items() if not count
        ]
        if lacking:
            raise UserError(
                f"hydra.launcher.ray.remote: no worker fits into the cluster, which has {', '.join(lacking)}; "
                "where it grows when it has to, say how many there may be: runtime.parallel_runs=8"
            )
        return min(fit.values(), default=1)

    def describe(self, size: int) -> str:
        import ray

        nodes = sum(node["Alive"] for node in ray.nodes())
        return f"Ray: {size} workers on {nodes} node{'s' * (nodes != 1)}"

    def begin(self, place: WorkerSpec, serve: Callable[[WorkerSpec], Any]) -> BackendTask:
        import ray

        return _RayTask(ray.remote(**{**self._remote, **ONCE})(serve).remote(place))
