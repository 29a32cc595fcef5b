"""Compose a configuration from overrides, without `train.py`."""

from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from crackdet.config.arguments import quote_home
from crackdet.config.config_files import CONF
from crackdet.config.groups import register
from crackdet.config.hydra_errors import explain_hydra_error
from crackdet.config.hydra_state import own_hydra
from crackdet.config.parsing import check_network_name, parse
from crackdet.config.schema import Config
from crackdet.core.errors import UserError

__all__ = ["CONF", "compose"]


def compose(overrides: Sequence[str]) -> Config:
    """Return the configuration that `python train.py OVERRIDES` trains.

    Hydra may be in use already, in a notebook or within `@hydra.main`; its state does not change.

    Raises:
        UserError: If it is not valid.
    """
    check_network_name(overrides)
    with own_hydra():
        register()
        try:
            with initialize_config_dir(str(CONF)):
                composed = hydra_compose("config", quote_home(overrides))
        except Exception as error:  # Hydra does not catch all errors that overrides cause
            raise UserError(explain_hydra_error(error, overrides)) from None
        return parse(composed)
