"""Optuna's pruners as `hydra.sweeper.pruner` configures them, deciding alike in every process."""

import zlib
from collections.abc import Callable, Mapping
from math import ceil, floor, log
from typing import Any

from crackdet.core.errors import UserError
from crackdet.sweep.search.samplers import build

Rungs = Callable[[int, Mapping[int, float]], dict[str, float]]  # number and values of a trial -> the rungs it reached
AUTO = "auto"
STUDY = "crackdet"  # Hyperband hashes the name with the trial's number


def build_pruner(config: Mapping[str, Any], max_epochs: int) -> Any:
    """The pruner of `hydra.sweeper.pruner`; a resource is an epoch, and `auto` is decided by the number of them.

    Raises:
        UserError: If it cannot be built from its settings.
    """
    settings = _decided(config, max_epochs)
    target = str(settings.pop("_target_"))
    if "wrapped_pruner" in settings:
        wrapped = settings["wrapped_pruner"]
        settings["wrapped_pruner"] = build_pruner(wrapped, max_epochs) if wrapped else None
    return build("pruner", {"_target_": target, **settings})


def rungs_of(config: Mapping[str, Any], max_epochs: int) -> Rungs:
    """Where a trial has been on the ladders of successive halving, as Optuna would have noted it.

    Of trials of other processes and earlier times nothing was noted, but it follows from their values.
    """
    settings = _decided(config, max_epochs)
    name = str(settings["_target_"]).rpartition(".")[2]
    if name == "PatientPruner" and settings.get("wrapped_pruner"):
        return rungs_of(settings["wrapped_pruner"], max_epochs)
    if name not in ("SuccessiveHalvingPruner", "HyperbandPruner"):
        return lambda number, values: {}
    smallest, factor = settings["min_resource"], settings["reduction_factor"]
    budgets = _budgets(smallest, settings["max_resource"], factor) if name == "HyperbandPruner" else []

    def reached(number: int, values: Mapping[int, float]) -> dict[str, float]:
        rate = bracket_of(number, budgets) if budgets else settings["min_early_stopping_rate"]
        found: dict[str, float] = {}
        while (step := smallest * factor ** (rate + len(found))) in values:
            found[f"completed_rung_{len(found)}"] = values[step]
        return found

    return reached


def bracket_of(number: int, budgets: list[int]) -> int:
    """Return the bracket in which Optuna's Hyperband puts the trial."""
    left = zlib.crc32(f"{STUDY}_{number}".encode()) % sum(budgets)
    for bracket, budget in enumerate(budgets):
        left -= budget
        if left < 0:
            return bracket
    raise AssertionError("the remainder is smaller than the sum")


def _budgets(smallest: int, largest: int, factor: int) -> list[int]:
    """How many trials the brackets get in proportion (Li et al., "Hyperband", 2018; as Optuna reckons it)."""
    brackets = floor(log(largest / smallest, factor)) + 1
    return [ceil(brackets * factor ** (brackets - 1 - i) / (brackets - i)) for i in range(brackets)]


def _decided(config: Mapping[str, Any], max_epochs: int) -> dict[str, Any]:
    """The settings with numbers for `auto`, which Optuna would guess from the trials so far."""
    settings = dict(config)
    name = str(settings.get("_target_", "")).rpartition(".")[2]
    if not name:
        raise UserError("hydra.sweeper.pruner: must be one of hydra/sweeper/pruner=median, hyperband, ..., or null")
    if name in ("SuccessiveHalvingPruner", "HyperbandPruner"):
        for key, default in (("min_resource", 1), ("reduction_factor", 3), ("bootstrap_count", 0)):
            settings.setdefault(key, default)
        if settings["min_resource"] == AUTO:
            settings["min_resource"] = max(1, max_epochs // 100)
        for key, least in (("min_resource", 1), ("reduction_factor", 2)):
            if not isinstance(settings[key], int) or settings[key] < least:
                raise UserError(f"hydra.sweeper.pruner.{key}={settings[key]}: must be a whole number at least {least}")
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
