"""Optuna's samplers as `hydra.sweeper.sampler` configures them."""

import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import optuna
from hydra.errors import InstantiationException
from hydra.utils import UNSAFE_DISABLE_EXECUTION_CHECKS, instantiate
from optuna.samplers import CmaEsSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from crackdet.core.errors import UserError

GRID = "GridSampler"
PACKAGES = {"CmaEsSampler": "cmaes", "QMCSampler": "scipy", "GPSampler": "scipy"}


class Sampler:
    """The sampler of `hydra.sweeper.sampler`.

    With a seed, a suggestion of TPE or random depends on the seed and the number of known trials only: a search that
    was stopped continues as if it had not been, instead of repeating its first suggestions.

    Raises:
        UserError: If it cannot be built from its settings.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self.seed: int | None = self._config.get("seed")
        self.is_grid = str(config.get("_target_")).rpartition(".")[2] == GRID  # Optuna's knows no conditions
        # of a grid every trial is enqueued: its sampler is never asked
        self._sampler: Any = RandomSampler(seed=0) if self.is_grid else self._build(self._config)
        self.name = GRID if self.is_grid else type(self._sampler).__name__
        self._is_stateless = isinstance(self._sampler, TPESampler | RandomSampler)

    @property
    def learns_from_repeats(self) -> bool:
        """Whether a repeated suggestion must be told with its values: generations consist of told trials."""
        return isinstance(self._sampler, CmaEsSampler | NSGAIISampler | NSGAIIISampler)

    def prepare(self, study: optuna.Study, known: int, attempt: int) -> None:
        """Set the study's sampler for the next suggestion."""
        if self.seed is not None and self._is_stateless and not self.is_grid:
            study.sampler = self._build({**self._config, "seed": derived(self.seed, known, attempt)})
        else:
            study.sampler = self._sampler

    def _build(self, config: dict[str, Any]) -> Any:
        if config.get("_target_") == "optuna.samplers.TPESampler":
            config = {**config, "constant_liar": True}  # hydra-optuna-sweeper turns it off
        return build("sampler", config)


def build(kind: str, config: Mapping[str, Any]) -> Any:
    """Instantiate `hydra.sweeper.KIND`, a sampler or a pruner.

    Raises:
        UserError: If there is no such class, a package that it needs is missing, or it refuses a setting.
    """
    name = str(config.get("_target_")).rpartition(".")[2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the user has chosen it
            return instantiate(dict(config), _execution_whitelist_=UNSAFE_DISABLE_EXECUTION_CHECKS)
    except (InstantiationException, TypeError, ValueError, ImportError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        text = missing(name, cause) if isinstance(cause, ImportError) else next(iter(str(cause).splitlines()), "")
        raise UserError(f"hydra.sweeper.{kind}={name}: {text}") from None


def missing(name: str, error: ImportError) -> str:
    """Say which package a sampler needs."""
    package = PACKAGES.get(name, error.name or "")
    return f"needs a package that is not installed: pip install {package}" if package else str(error)


def derived(seed: int, *numbers: int) -> int:
    """Return a seed that depends on the given numbers only."""
    return zlib.crc32(",".join(map(str, (seed, *numbers))).encode())
