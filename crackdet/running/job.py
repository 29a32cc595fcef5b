"""A job: a valid configuration with its identity and its run. Nothing here imports torch before it is needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from crackdet.config.optimization import Adam, Constant
from crackdet.config.parsing import check_network_name, parse
from crackdet.config.schema import DEFAULT_VIEWS, Config, Model, Trainer, to_dict
from crackdet.core.files import expand_home
from crackdet.data.dataset import data_fingerprint
from crackdet.running.command_cache import CacheEntry, dependencies, is_cacheable
from crackdet.store.identity import NON_IDENTITY, Identity, identify
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.tracking.trackers import EpochHistory

PruneCheck = Callable[[EpochHistory], str | None]  # returns the reason to stop the run, or None


@dataclass(frozen=True)
class Job:
    """A configuration to train, and the run that it belongs to."""

    config: Config
    identity: Identity
    run: Run
    overrides: list[str]
    sweep: str | None = None  # the sweep's folder; None for a single run

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the result, by group."""
        return {group: value for group, value in to_dict(self.config).items() if group not in NON_IDENTITY}

    def is_finished(self) -> bool:
        """Return whether the run is finished and is not to be retrained.

        Raises:
            StoreError: If the run directory holds another configuration.
        """
        return not self.config.runtime.retrain and self.run.is_finished(self.identity.digest)

    def cache_entry(self, composed: DictConfig | Mapping[str, Any]) -> CacheEntry:
        """Return the entry of the command cache for the overrides that composed this job."""
        cacheable = is_cacheable(composed) and not self.config.runtime.retrain
        return CacheEntry(self.overrides, self.run, self.identity.digest, dependencies(self.config), cacheable)


def make_job(
    composed: DictConfig | Mapping[str, Any], overrides: list[str], fingerprints: dict[str, str] | None = None
) -> Job:
    """Return the job of a composed configuration.

    Args:
        overrides: The overrides that the configuration was composed from.
        fingerprints: A cache of data fingerprints, shared by the jobs of a sweep.

    Raises:
        UserError: If the configuration is not valid, or the data cannot be listed.
    """
    check_network_name(overrides)
    config = _without_effect_removed(_pin_weights(parse(composed)))
    fingerprints, key = {} if fingerprints is None else fingerprints, repr(config.data)
    if key not in fingerprints:
        fingerprints[key] = data_fingerprint(config.data, config.runtime)
    identity = identify(config, fingerprints[key])
    run = RunStore(expand_home(config.runtime.store)).run(identity.run_id)
    return Job(config, identity, run, overrides)


def _without_effect_removed(config: Config) -> Config:
    """Set settings that have no effect to null, so that they do not distinguish runs; set the number of views."""
    augmentation, trainer = config.data.augmentation, config.trainer
    if trainer.probe:
        probe = Trainer(1, probe=True, precision=trainer.precision, pos_weight=trainer.pos_weight)
        model = replace(config.model, linear_features=Model.linear_features)
        config = replace(config, model=model, optimizer=Adam(), scheduler=Constant(), trainer=probe)
    views = augmentation.views or DEFAULT_VIEWS if config.model.freeze_features and augmentation.is_active else None
    optimizer = replace(
        config.optimizer,
        decay_norm_and_bias=None if config.optimizer.decay_norm_and_bias else config.optimizer.decay_norm_and_bias,
    )
    if config.model.freeze_features:  # only the head has a learning rate
        optimizer = replace(optimizer, layer_decay=None, backbone_learning_rate=None)
    return replace(
        config,
        optimizer=optimizer,
        data=replace(config.data, augmentation=replace(augmentation, views=views)),
        trainer=replace(config.trainer, probe=trainer.probe or None),
    )


def _pin_weights(config: Config) -> Config:
    """Replace the weights DEFAULT by their name, because newer versions of torchvision and timm may change it."""
    if config.model.weights == "DEFAULT":
        from crackdet.models.factory import architecture  # imports torch: seconds

        return replace(config, model=replace(config.model, weights=architecture(config.model).default_weights()))
    return config
