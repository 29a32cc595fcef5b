"""Interactions between settings."""

import itertools

import numpy as np
import pytest

from crackdet.analysis.importance import MIN_INTERACTION, importances, interactions


def test_settings_that_matter_only_together_are_an_interaction() -> None:
    trials = [{"a": a, "b": b, "c": c} for a, b, c in itertools.product((0, 1), (0, 1), range(4))]
    values = [float(trial["a"] != trial["b"]) for trial in trials]
    assert max(importances(trials, values).values()) == 0
    assert interactions(trials, values) == {("a", "b"): pytest.approx(1)}


def test_settings_that_add_up_have_no_interaction() -> None:
    trials = [{"a": a, "b": b} for a, b in itertools.product(range(4), range(4))] * 3
    generator = np.random.default_rng(0)
    values = [trial["a"] + 2 * trial["b"] + generator.normal(0, 0.3) for trial in trials]
    assert interactions(trials, values) == {}


def test_noise_rarely_looks_like_an_interaction() -> None:
    generator, found = np.random.default_rng(1), 0
    trials = [{"a": a, "b": b} for a, b in itertools.product(range(3), range(3))] * 12
    for _ in range(200):
        found += bool(interactions(trials, generator.normal(size=len(trials)).tolist()))
    assert found <= 50, f"MIN_INTERACTION={MIN_INTERACTION} should leave out most of what chance gives"


def test_a_grid_without_repetitions_has_no_interaction_that_could_be_told_from_noise() -> None:
    trials = [{"a": a, "b": b} for a, b in itertools.product(range(4), range(4))]
    assert interactions(trials, [float(trial["a"] == trial["b"]) for trial in trials]) == {}
