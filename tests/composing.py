"""Configurations of tests, composed as a sweep composes its jobs: each in a hundredth of the time that Hydra takes."""

import functools
from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from crackdet.config import composing
from crackdet.config.composing import CONF
from crackdet.config.groups import register
from crackdet.config.hydra_state import own_hydra
from crackdet.config.parsing import parse
from crackdet.config.schema import Config
from crackdet.sweep.composition import CachedComposer


def compose(overrides: Sequence[str]) -> Config:
    """Return what `crackdet.compose.compose` returns; raise UserError as it does."""
    try:
        return parse(_composer().compose(overrides))
    except HydraException:
        return composing.compose(overrides)  # which explains the error


@functools.cache
def _composer() -> CachedComposer:
    register()
    with own_hydra(), initialize_config_dir(str(CONF)):
        sweep_config = hydra_compose("config", return_hydra_config=True)
        return CachedComposer(GlobalHydra.instance().config_loader(), sweep_config)
