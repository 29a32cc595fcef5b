"""A Hydra program whose jobs do nothing, with crackdet's configuration: measures Hydra's own share of a sweep."""

import hydra
from hydra.utils import UNSAFE_DISABLE_EXECUTION_CHECKS
from omegaconf import DictConfig

from crackdet.config.groups import register

register()


@hydra.main(config_path="../conf", config_name="config", execution_whitelist=UNSAFE_DISABLE_EXECUTION_CHECKS)
def job(_config: DictConfig) -> None:
    return None


if __name__ == "__main__":
    job()
