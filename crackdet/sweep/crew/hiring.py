"""Which crew trains a sweep."""

from hydra.plugins.launcher import Launcher

from crackdet.errors import UserError
from crackdet.schema import Runtime
from crackdet.sweep.crew.crew import Crew
from crackdet.sweep.crew.launcher import LauncherCrew, is_basic
from crackdet.sweep.crew.worker import Orders


def hire(
    launcher: Launcher, runtime: Runtime, orders: Orders, most: int | None = None, at_once: int | None = None
) -> Crew:
    """`runtime.workers` processes of our own where that is more than one, else Hydra's launcher.

    `most` is how many jobs there can be at once, `at_once` how many a launcher of Hydra is given; None: all.

    Raises:
        UserError: where both are wished.
    """
    if runtime.workers == 1:
        return LauncherCrew(launcher, at_once)
    if not is_basic(launcher):
        raise UserError(
            f"runtime.workers={runtime.workers}: are processes of this sweep on this machine, and hydra/launcher "
            f"({type(launcher).__name__}) starts others; say runtime.workers=1, or hydra/launcher=basic"
        )
    from crackdet.sweep.crew.workers import Workers

    return Workers(runtime, orders, most)
