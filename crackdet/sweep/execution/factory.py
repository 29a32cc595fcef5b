"""Creates the executor of a sweep."""

from importlib import import_module

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.sweep.execution.executor import Executor, LauncherExecutor, is_basic
from crackdet.sweep.execution.worker import SweepContext

BACKENDS = {  # class of a Hydra launcher -> its backend; imported only if it is used
    "BasicLauncher": "processes.ProcessBackend",
    "JoblibLauncher": "joblib.JoblibBackend",
    "LocalLauncher": "submitit.SubmititLocalBackend",
    "SlurmLauncher": "submitit.SlurmBackend",
    "RayLauncher": "ray.RayBackend",
}


def create_executor(
    launcher: Launcher,
    runtime: Runtime,
    context: SweepContext,
    max_jobs: int | None = None,
    launcher_jobs: int | None = None,
) -> Executor:
    """Return a pool of workers if there are several or a known launcher starts them; else run jobs by the launcher.

    Args:
        max_jobs: Number of jobs there are, so that no more workers are started; None: unknown.
        launcher_jobs: Number of jobs that a launcher runs at once, unless `runtime.parallel_runs` is more than 1.

    Raises:
        UserError: If `runtime.parallel_runs` is more than 1 and the launcher is unknown.
    """
    name, is_single = type(launcher).__name__, runtime.parallel_runs == 1
    if is_single and (is_basic(launcher) or name not in BACKENDS):
        return LauncherExecutor(launcher, launcher_jobs)
    if name not in BACKENDS:
        raise UserError(
            f"runtime.parallel_runs={runtime.parallel_runs}: starts worker processes on this machine, but "
            f"hydra/launcher ({name}) starts its own; set runtime.parallel_runs=1 or hydra/launcher=basic"
        )
    from crackdet.sweep.execution.pool import WorkerPool

    limits = [limit for limit in (max_jobs, launcher_jobs if is_single else None) if limit is not None]
    module, _, class_name = BACKENDS[name].partition(".")
    backend = getattr(import_module(f"crackdet.sweep.execution.{module}"), class_name)
    return WorkerPool(backend(launcher, runtime, context), context, min(limits, default=None))
