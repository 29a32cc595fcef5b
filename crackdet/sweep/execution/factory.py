"""Which crew trains a sweep."""

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.sweep.execution.backend import WorkerBackend
from crackdet.sweep.execution.executor import Executor
from crackdet.sweep.execution.launcher_executor import LauncherExecutor, is_basic
from crackdet.sweep.execution.worker import SweepContext


def create_executor(
    launcher: Launcher, runtime: Runtime, orders: SweepContext, most: int | None = None, at_once: int | None = None
) -> Executor:
    """Workers of our own where `runtime.parallel_runs` is more than one, or by a launcher of Hydra's; else this process.

    `most` is how many jobs there can be at once; `at_once` the same by a launcher, where `runtime.parallel_runs` says
    nothing else; None: no limit.

    Raises:
        UserError: where that cannot be.
    """
    if is_basic(launcher) and runtime.parallel_runs == 1:
        return LauncherExecutor(launcher, at_once)
    agency = _create_backend(launcher, runtime, orders)
    if agency is None:
        if runtime.parallel_runs == 1:
            return LauncherExecutor(launcher, at_once)
        raise UserError(
            f"runtime.parallel_runs={runtime.parallel_runs}: are processes of this sweep on this machine, and hydra/launcher "
            f"({type(launcher).__name__}) starts others; say runtime.parallel_runs=1, or hydra/launcher=basic"
        )
    from crackdet.sweep.execution.pool import WorkerPool

    limits = [most, at_once if runtime.parallel_runs == 1 else None]
    return WorkerPool(agency, orders, min((limit for limit in limits if limit is not None), default=None))


def _create_backend(launcher: Launcher, runtime: Runtime, orders: SweepContext) -> WorkerBackend | None:  # type: ignore[type-arg]
    """Who starts the workers; None of a launcher that is not known."""
    name = type(launcher).__name__
    if name == "BasicLauncher":
        from crackdet.sweep.execution.processes import ProcessBackend

        return ProcessBackend(runtime, orders)
    if name == "JoblibLauncher":
        from crackdet.sweep.execution.joblib import JoblibBackend

        return JoblibBackend(launcher, runtime, orders)
    if name in ("LocalLauncher", "SlurmLauncher"):
        from crackdet.sweep.execution.submitit import SlurmBackend, SubmititLocalBackend

        return (SubmititLocalBackend if name == "LocalLauncher" else SlurmBackend)(launcher, runtime, orders)
    if name == "RayLauncher":
        from crackdet.sweep.execution.ray import RayBackend

        return RayBackend(launcher, runtime, orders)
    return None
