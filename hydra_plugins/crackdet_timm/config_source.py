"""A source of configurations besides the files of `conf/`: one option of `model` for each network of timm."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

PROVIDER = "crackdet"


class TimmConfigSource(ConfigSource):
    @staticmethod
    def scheme() -> str:
        return "timm"

    def load_config(self, config_path: str) -> ConfigResult:
        from crackdet.config.timm_names import network_of, option_of

        if (network := network_of(config_path)) is None:
            raise ConfigLoadError(f"Config not found : {config_path}")
        content = OmegaConf.create(option_of(network))
        return ConfigResult(self.provider, self.full_path(), content, {"package": "model"})

    def is_config(self, config_path: str) -> bool:
        from crackdet.config.timm_names import network_of

        return network_of(config_path) is not None

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in ("model", "model/timm")

    def available(self) -> bool:
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        from crackdet.config.timm_names import completions

        is_listed = config_path.rstrip("/") == "model" and results_filter is not ObjectType.GROUP
        return completions() if is_listed else []


class TimmSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(PROVIDER, "timm://")
