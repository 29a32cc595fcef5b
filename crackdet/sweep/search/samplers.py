"""Samplers by configuration, with whatever the installed Optuna has."""

import inspect
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import optuna
from hydra.utils import instantiate
from omegaconf import OmegaConf

from crackdet.core.errors import UserError

EACH_TIME_ANEW = ("TPESampler", "RandomSampler")  # all that they know is the study
LEARN_FROM_REPEATS = ("CmaEsSampler", "NSGAIISampler", "NSGAIIISampler")  # generations are made of told trials
GRID = "GridSampler"
PARALLEL = {"constant_liar": True}  # of TPE: to keep away from what is being trained
PACKAGES = {"CmaEsSampler": "cmaes", "QMCSampler": "scipy", "GPSampler": "scipy"}


class Sampler:
    """The sampler of `hydra.sweeper.sampler`.

    With a seed, a suggestion follows from the seed and the number of trials that are known: a search that was
    stopped goes on as it would have gone on, instead of repeating its first suggestions.

    Raises:
        UserError: where the installed Optuna has none of this name, or it cannot be built from its settings.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._settings = {key: value for key, value in config.items() if key not in ("_target_", "_partial_")}
        self._target = str(config.get("_target_", ""))
        self.name = self._target.rpartition(".")[2]
        self.seed: int | None = self._settings.get("seed")
        self._built: Any = None if self.is_grid else self._build(self._settings)

    @property
    def is_grid(self) -> bool:
        """Whether each suggestion is made once, in any order: Optuna's own knows nothing of conditions."""
        return self.name == GRID

    @property
    def learns_from_repeats(self) -> bool:
        return self.name in LEARN_FROM_REPEATS

    def prepare(self, study: optuna.Study, known: int, attempt: int) -> None:
        """Makes the study ready for the next suggestion."""
        if self.is_grid:
            study.sampler = optuna.samplers.RandomSampler(seed=0)  # not asked: its trials are enqueued
        elif self.seed is not None and self.name in EACH_TIME_ANEW:
            study.sampler = self._build({**self._settings, "seed": derived(self.seed, known, attempt)})
        else:
            study.sampler = self._built

    def _build(self, settings: Mapping[str, Any]) -> Any:
        where = f"hydra.sweeper.sampler={self.name}"
        if not self._target.startswith("optuna.samplers."):
            return instantiate(OmegaConf.create({"_target_": self._target, **settings}))
        kind = getattr(optuna.samplers, self.name, None)
        if kind is None:
            hint = "; tpe takes several objectives too" if self.name == "MOTPESampler" else ""
            raise UserError(f"{where}: Optuna {optuna.__version__} has no such sampler{hint}")
        known = inspect.signature(kind).parameters
        accepted = {key: value for key, value in {**PARALLEL, **settings}.items() if key in known}
        if strange := [key for key, value in settings.items() if key not in known and value is not None]:
            raise UserError(f"{where}: Optuna {optuna.__version__} knows no {strange[0]} of it")
        try:
            with (
                warnings.catch_warnings()
            ):  # of settings that hydra-optuna-sweeper spells out and Optuna would rather not
                warnings.simplefilter("ignore")
                return kind(**accepted)
        except ImportError as error:
            raise UserError(f"{where}: {missing(self.name, error)}") from None
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: {error}") from None


def missing(name: str, error: ImportError) -> str:
    """What has to be installed for a sampler."""
    package = PACKAGES.get(name, error.name or "")
    return f"needs a package that is not installed: pip install {package}" if package else str(error)


def derived(seed: int, *numbers: int) -> int:
    """A seed that follows from others."""
    return zlib.crc32(",".join(map(str, (seed, *numbers))).encode())
