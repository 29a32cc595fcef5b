"""Trains one run, or with -m a sweep of them: every setting is in conf/."""

import hydra
from omegaconf import DictConfig

from crackdet import config
from crackdet.sweep.job import run_job
from crackdet.sweep.start import start

config.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(composed: DictConfig) -> float | None:
    return run_job(composed)


if __name__ == "__main__":
    start(train)
