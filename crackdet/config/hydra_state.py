"""Hydra's global objects, kept as the caller has them: a notebook, or a program with its own `@hydra.main`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer


@contextmanager
def own_hydra() -> Iterator[None]:
    """Allow a block to initialize Hydra, and restore the state of Hydra afterwards.

    The state is the initialized Hydra, the configuration of its job, the registered schemas and the resolvers.
    """
    Plugins.instance()  # imports the plugins, which register their options once and for all
    outer, job, runtime, version = GlobalHydra.instance(), HydraConfig.instance(), JobRuntime(), VersionBase.instance()
    store = ConfigStore.instance()
    hydra, job_config, runtime_config, base = outer.hydra, job.cfg, runtime.conf.copy(), version.getbase()
    repository, resolvers = store.repo, dict(BaseContainer._resolvers)  # hydra.core.singleton saves the same state
    store.repo = _copy(repository)
    outer.clear()
    try:
        yield
    finally:
        GlobalHydra.set_instance(outer)
        outer.hydra, job.cfg, runtime.conf, store.repo = hydra, job_config, runtime_config, repository
        version.setbase(base)
        BaseContainer._resolvers = resolvers


def _copy(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: _copy(node) if isinstance(node, dict) else node for name, node in tree.items()}
