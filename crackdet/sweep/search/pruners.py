"""Optuna's pruners as `hydra.sweeper.pruner` configures them. They decide alike in every process."""

import zlib
from collections.abc import Callable, Mapping
from math import ceil, floor, log
from typing import Any

from crackdet.core.errors import UserError
from crackdet.sweep.search.search_config import class_name, instantiate_component

Rungs = Callable[[int, Mapping[int, float]], dict[str, float]]  # number and values of a trial -> the rungs it reached
AUTO = "auto"
STUDY = "crackdet"  # Hyperband hashes this name with the trial's number


def build_pruner(config: Mapping[str, Any], max_epochs: int) -> Any:
    """Return the pruner of `hydra.sweeper.pruner`; its resource is the epoch, and `auto` depends on `max_epochs`.

    Raises:
        UserError: If it cannot be built from its settings.
    """
    settings = _resolve_auto(config, max_epochs)
    if wrapped := settings.get("wrapped_pruner"):
        settings["wrapped_pruner"] = build_pruner(wrapped, max_epochs)
    return instantiate_component("pruner", settings)


def rungs_of(config: Mapping[str, Any], max_epochs: int) -> Rungs:
    """Return a function that computes the rungs of successive halving a trial has reached from its values.

    Optuna notes them while it prunes a study; of trials in other processes and earlier searches nothing is noted.
    """
    settings = _resolve_auto(config, max_epochs)
    name = class_name(settings)
    if name == "PatientPruner" and settings.get("wrapped_pruner"):
        return rungs_of(settings["wrapped_pruner"], max_epochs)
    if name not in ("SuccessiveHalvingPruner", "HyperbandPruner"):
        return lambda number, values: {}
    min_resource, factor = settings["min_resource"], settings["reduction_factor"]
    budgets = _budgets(min_resource, settings["max_resource"], factor) if name == "HyperbandPruner" else []

    def reached(number: int, values: Mapping[int, float]) -> dict[str, float]:
        rate = bracket_of(number, budgets) if budgets else settings["min_early_stopping_rate"]
        rungs: dict[str, float] = {}
        while (step := min_resource * factor ** (rate + len(rungs))) in values:
            rungs[f"completed_rung_{len(rungs)}"] = values[step]
        return rungs

    return reached


def bracket_of(number: int, budgets: list[int]) -> int:
    """Return the bracket of a trial, as Optuna's Hyperband chooses it."""
    remainder = zlib.crc32(f"{STUDY}_{number}".encode()) % sum(budgets)
    for bracket, budget in enumerate(budgets):
        remainder -= budget
        if remainder < 0:
            return bracket
    raise AssertionError("the remainder is smaller than the sum")


def _budgets(min_resource: int, max_resource: int, factor: int) -> list[int]:
    """Return the relative numbers of trials in the brackets (Li et al., "Hyperband", 2018), as Optuna computes them."""
    brackets = floor(log(max_resource / min_resource, factor)) + 1
    return [ceil(brackets * factor ** (brackets - 1 - i) / (brackets - i)) for i in range(brackets)]


def _resolve_auto(config: Mapping[str, Any], max_epochs: int) -> dict[str, Any]:
    """Return the settings with defaults, and numbers for `auto`, which Optuna would guess from the first trials."""
    settings = dict(config)
    name = class_name(settings)
    if not name:
        raise UserError("hydra.sweeper.pruner: must be one of hydra/sweeper/pruner=median, hyperband, ..., or null")
    if name in ("SuccessiveHalvingPruner", "HyperbandPruner"):
        for key, default in (("min_resource", 1), ("reduction_factor", 3), ("bootstrap_count", 0)):
            settings.setdefault(key, default)
        if settings["min_resource"] == AUTO:
            settings["min_resource"] = max(1, max_epochs // 100)
        for key, low in (("min_resource", 1), ("reduction_factor", 2)):
            if not isinstance(settings[key], int) or settings[key] < low:
                raise UserError(f"hydra.sweeper.pruner.{key}={settings[key]}: must be an integer >= {low}")
    if name == "SuccessiveHalvingPruner":
        settings.setdefault("min_early_stopping_rate", 0)
    if name == "HyperbandPruner":
        if settings.get("max_resource", AUTO) == AUTO:
            settings["max_resource"] = max_epochs
        if settings["max_resource"] < settings["min_resource"]:
            raise UserError(
                f"hydra.sweeper.pruner.min_resource={settings['min_resource']}: must be at most the number of epochs, "
                f"{settings['max_resource']}"
            )
    return settings
