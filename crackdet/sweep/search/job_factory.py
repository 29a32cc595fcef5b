"""Overrides -> jobs, for a search: each distinct composition and each data set is read once."""

import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.hydra_errors import explain_hydra_error
from crackdet.config.parsing import resolve
from crackdet.core.errors import UserError
from crackdet.running.job import Job, make_job
from crackdet.sweep.composition import CachedComposer, Composition
from crackdet.sweep.search.space import Params, Space
from crackdet.sweep.selection import ExcludeFilter


class JobFactory:
    """Makes the jobs of suggestions, and tells which suggestions `sweep.exclude` leaves out."""

    def __init__(self, context: HydraContext, config: DictConfig, exclude: ExcludeFilter) -> None:
        self._composer = CachedComposer(context.config_loader, config)
        self.exclude = exclude
        self._fingerprints: dict[str, str] = {}
        # whether a key is a config group; Hydra searches its folders each time, for 30 ms
        self.is_group = functools.cache(lambda key: bool(context.config_loader.get_group_options(key)))

    def composition(self, choices: Sequence[str]) -> Composition:
        """Return what choices of group options give.

        Raises:
            UserError: If Hydra cannot compose them.
        """
        try:
            return self._composer.composition(tuple(choices))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain_hydra_error(error)) from None

    def compose(self, overrides: Sequence[str]) -> Mapping[str, Any]:
        """Return the composed configuration as plain values, which are resolved once: `${` in them is text.

        Raises:
            UserError: If Hydra cannot compose it.
        """
        return resolve(self._compose(overrides))

    def job(self, overrides: Sequence[str]) -> Job:
        """Return the job of these overrides, excluded or not.

        Raises:
            UserError: If it could not be trained.
        """
        return make_job(self._compose(overrides), list(overrides), self._fingerprints)

    def jobs(self, space: Space, params: Params) -> dict[str, Job]:
        """Return the jobs of a suggestion by seed; the seed is "" if it is fixed.

        Raises:
            UserError: As `job`.
        """
        return {seed: self.job(space.overrides(params, seed)) for seed in space.seeds or [""]}

    def excludes(self, overrides: Sequence[str]) -> bool:
        """Return whether `sweep.exclude` leaves these overrides out.

        Raises:
            UserError: If the expression cannot be evaluated.
        """
        return self.exclude.has_condition and self.exclude(self._compose(overrides))

    def excludes_any_seed(self, space: Space, params: Params) -> bool:
        """Return whether one of a suggestion's runs is excluded; its mean would not be comparable with others.

        Raises:
            UserError: As `excludes`.
        """
        return any(self.excludes(space.overrides(params, seed)) for seed in space.seeds or [""])

    def check_exclude(self, space: Space) -> None:
        """Raise UserError if `sweep.exclude` names a setting that no run of the space has."""
        for branch in space.branches:
            params = {parameter.name: parameter.ends[0] for parameter in branch.parameters}
            with suppress(UserError):  # it may not be evaluable for these values
                self.excludes_any_seed(space, {**branch.options, **params})
        self.exclude.raise_for_unknown_settings()

    def _compose(self, overrides: Sequence[str]) -> DictConfig | Mapping[str, Any]:
        try:
            return self._composer.compose(list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain_hydra_error(error)) from None
