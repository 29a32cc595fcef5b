"""Which crew trains a sweep."""

from hydra.plugins.launcher import Launcher

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.sweep.execution.backend import Agency
from crackdet.sweep.execution.executor import Crew
from crackdet.sweep.execution.launcher_executor import LauncherCrew, is_basic
from crackdet.sweep.execution.worker import Orders


def hire(
    launcher: Launcher, runtime: Runtime, orders: Orders, most: int | None = None, at_once: int | None = None
) -> Crew:
    """Workers of our own where `runtime.workers` is more than one, or by a launcher of Hydra's; else this process.

    `most` is how many jobs there can be at once; `at_once` the same by a launcher, where `runtime.workers` says
    nothing else; None: no limit.

    Raises:
        UserError: where that cannot be.
    """
    if is_basic(launcher) and runtime.workers == 1:
        return LauncherCrew(launcher, at_once)
    agency = _agency(launcher, runtime, orders)
    if agency is None:
        if runtime.workers == 1:
            return LauncherCrew(launcher, at_once)
        raise UserError(
            f"runtime.workers={runtime.workers}: are processes of this sweep on this machine, and hydra/launcher "
            f"({type(launcher).__name__}) starts others; say runtime.workers=1, or hydra/launcher=basic"
        )
    from crackdet.sweep.execution.pool import Staff

    limits = [most, at_once if runtime.workers == 1 else None]
    return Staff(agency, orders, min((limit for limit in limits if limit is not None), default=None))


def _agency(launcher: Launcher, runtime: Runtime, orders: Orders) -> Agency | None:  # type: ignore[type-arg]
    """Who starts the workers; None of a launcher that is not known."""
    name = type(launcher).__name__
    if name == "BasicLauncher":
        from crackdet.sweep.execution.processes import Spawner

        return Spawner(runtime, orders)
    if name == "JoblibLauncher":
        from crackdet.sweep.execution.joblib import JoblibAgency

        return JoblibAgency(launcher, runtime, orders)
    if name in ("LocalLauncher", "SlurmLauncher"):
        from crackdet.sweep.execution.submitit import LocalAgency, SlurmAgency

        return (LocalAgency if name == "LocalLauncher" else SlurmAgency)(launcher, runtime, orders)
    if name == "RayLauncher":
        from crackdet.sweep.execution.ray import RayAgency

        return RayAgency(launcher, runtime, orders)
    return None
