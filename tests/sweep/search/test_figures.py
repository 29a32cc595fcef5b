"""Objectives, the Pareto front, and how much a parameter matters."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.analysis.importance import importances
from crackdet.sweep.search.objectives import DIRECTIONS, MissingObjective, Objective, dominates, pareto_front, values_of

BOTH = [Objective("accuracy", "maximize"), Objective("parameters", "minimize")]
points = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(points)
def test_the_front_consists_of_the_values_that_no_other_dominates(values: list[tuple[float, float]]) -> None:
    front = pareto_front(values, BOTH)
    assert front
    for index, own in enumerate(values):
        dominated = any(a >= own[0] and p <= own[1] and (a, p) != own for a, p in values)
        assert (index in front) is not dominated
    assert [values[index][0] for index in front] == sorted((values[index][0] for index in front), reverse=True)


def test_to_dominate_is_to_be_worse_in_no_objective_and_better_in_one() -> None:
    assert dominates([0.9, 10], [0.9, 11], BOTH) and not dominates([0.9, 10], [0.9, 10], BOTH)
    assert not dominates([0.8, 9], [0.9, 10], BOTH)


@given(points, st.integers(0, 2))
def test_no_value_is_dominated_by_a_difference_within_the_spread(
    values: list[tuple[float, float]], spread: int
) -> None:
    front = pareto_front(values, BOTH, [(0.0, float(spread))] * len(values))
    for index, (accuracy, cost) in enumerate(values):
        dominated = any(a >= accuracy and c <= cost + spread and (a > accuracy or c < cost - spread) for a, c in values)
        assert (index in front) is not dominated
    assert front


@pytest.mark.parametrize("value", [None, float("nan"), "0.9", True])
def test_a_value_that_is_not_a_number_is_a_missing_objective(value: object) -> None:
    with pytest.raises(MissingObjective, match="accuracy"):
        values_of({"accuracy": value, "parameters": 3}, BOTH)


def test_every_measure_of_a_summary_has_a_direction() -> None:
    from crackdet.analysis.export import MEASURED

    others = {"epoch", "epochs", "valid_images", "valid_digest", "license"}
    others |= {"latency_spread_ms", "feature_latency_spread_ms"}
    assert {name for name in MEASURED if name not in others} <= set(DIRECTIONS)


def test_only_parameters_that_influence_the_value_are_important() -> None:
    rng = random.Random(0)
    trials = [
        {"width": rng.randint(1, 1000), "rate": rng.choice([1, 2, 3]), "noise": rng.random(), "same": 1}
        for _ in range(200)
    ]
    values = [trial["width"] / 1000 + 0.1 * trial["rate"] for trial in trials]
    importance = importances(trials, values)
    assert list(importance)[:2] == ["width", "rate"]
    assert importance["width"] > 0.8 and 0.05 < importance["rate"] < 0.4
    assert importance["noise"] < 0.05 and "same" not in importance
    assert importances(trials, [0.5] * 200) == importances(trials[:3], values[:3]) == {}


def test_the_importance_of_a_conditional_parameter_is_computed_from_the_trials_that_have_it() -> None:
    trials = [{"model": "a", "depth": i % 2} if i % 4 < 2 else {"model": "b"} for i in range(40)]
    values = [0.5 + 0.3 * trial.get("depth", 0) + 0.001 * i for i, trial in enumerate(trials)]  # type: ignore[operator]
    assert importances(trials, values)["depth"] > 0.9
