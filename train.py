"""Train one run, or with -m a sweep of runs; the settings are in conf/."""

from crackdet.core.interrupts import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # before the other imports, which take time

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crackdet.core.startup import prepare_process

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONF = Path(__file__).parent / "conf"


def train(composed: "DictConfig") -> float | None:
    from crackdet.sweep.task import run_job

    return run_job(composed)


def main() -> None:
    from crackdet.running.fast_path import skip_finished

    if skip_finished(sys.argv[1:], CONF):
        return
    import hydra  # takes half a second, which a finished run does not need
    from hydra.utils import UNSAFE_DISABLE_EXECUTION_CHECKS

    from crackdet.cli.train import run_hydra

    # The command line and conf/ are trusted: `model._target_` may name any code of the user.
    checks = UNSAFE_DISABLE_EXECUTION_CHECKS
    run_hydra(hydra.main(config_path="conf", config_name="config", execution_whitelist=checks)(train))


if __name__ == "__main__":
    prepare_process()
    main()
