"""`config.yaml`: the resolved configuration of a run. Its values are literal; text that holds `${` is escaped."""

from typing import Any

from crackdet.config.interpolation import escape, unescape
from crackdet.config.schema import Config, to_dict
from crackdet.core.errors import StoreError
from crackdet.core.files import write_text
from crackdet.core.reading import load_yaml
from crackdet.store.paths import RunPaths
from crackdet.store.result import is_settings


def write_config(run: RunPaths, config: Config) -> None:
    """Write the configuration of a run."""
    import yaml

    write_text(run.config_file, yaml.safe_dump(escape(to_dict(config)), sort_keys=False))


def load_config(run: RunPaths) -> dict[str, Any]:
    """Return the configuration of a run as plain values by group, not yet checked against the schema.

    Raises:
        StoreError: If the file is missing or damaged, or holds an interpolation.
    """
    try:
        tree: dict[str, Any] = unescape(load_yaml(run.config_file))
        if not is_settings(tree):
            raise ValueError("does not hold settings by group")
    except OSError as error:
        raise StoreError(f"{run.config_file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise StoreError(f"{run.config_file}: {error}") from None
    return tree
