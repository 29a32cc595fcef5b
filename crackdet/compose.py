"""Overrides -> configuration, outside of `train.py`."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config import Config, parse, register
from crackdet.errors import UserError

CONF = Path(__file__).parent.parent / "conf"


def compose(overrides: Sequence[str]) -> Config:
    """The configuration that `python train.py OVERRIDES` would train.

    Raises:
        UserError: where it is not valid.
    """
    from crackdet.sweep.start import explain

    register()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return parse(hydra_compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from None
