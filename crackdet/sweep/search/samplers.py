"""Optuna's samplers as `hydra.sweeper.sampler` configures them."""

import zlib
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import CmaEsSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from crackdet.sweep.search.search_config import class_name, instantiate_component

GRID = "GridSampler"


class Sampler:
    """The sampler of `hydra.sweeper.sampler`.

    With a seed, a suggestion of TPE or random depends only on the seed and the number of known trials: a search that
    was stopped continues as if it had not been, instead of repeating its first suggestions.

    Raises:
        UserError: If the sampler cannot be built from its settings.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self.seed: int | None = self._config.get("seed")
        self.is_grid = class_name(config) == GRID  # Optuna's own does not support conditional parameters
        # The trials of a grid are enqueued, so its sampler is never asked.
        self._sampler: Any = RandomSampler(seed=0) if self.is_grid else _build(self._config)
        self.name = GRID if self.is_grid else type(self._sampler).__name__

    @property
    def learns_from_repeats(self) -> bool:
        """Whether a repeated suggestion must be told with its values, since generations consist of told trials."""
        return isinstance(self._sampler, CmaEsSampler | NSGAIISampler | NSGAIIISampler)

    def prepare(self, study: optuna.Study, num_known: int, attempt: int) -> None:
        """Set the study's sampler for the next suggestion."""
        sampler = self._sampler
        if self.seed is not None and not self.is_grid and isinstance(sampler, TPESampler | RandomSampler):
            sampler = _build({**self._config, "seed": derive_seed(self.seed, num_known, attempt)})
        study.sampler = sampler


def derive_seed(seed: int, *numbers: int) -> int:
    """Return a seed that depends only on the given numbers."""
    return zlib.crc32(",".join(map(str, (seed, *numbers))).encode())


def _build(config: dict[str, Any]) -> Any:
    if class_name(config) == "TPESampler":  # stay away from running trials; hydra-optuna-sweeper's default is false
        config = {**config, "constant_liar": True}
    return instantiate_component("sampler", config)
