"""A Hydra program whose jobs do nothing, with crackdet's configuration: measures Hydra's own share of a sweep."""

import hydra
from omegaconf import DictConfig

from crackdet.config.groups import register

register()


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(_config: DictConfig) -> None:
    return None


if __name__ == "__main__":
    job()
