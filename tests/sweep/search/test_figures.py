"""Objectives, the Pareto front, and how much a parameter matters."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.analysis.importance import importances
from crackdet.sweep.search.objectives import DIRECTIONS, MissingObjective, Objective, better, pareto_front, values_of

BOTH = [Objective("accuracy", "maximize"), Objective("parameters", "minimize")]
points = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(points)
def test_the_front_is_what_nothing_is_better_than(values: list[tuple[float, float]]) -> None:
    front = pareto_front(values, BOTH)
    assert front
    for index, own in enumerate(values):
        beaten = any(a >= own[0] and p <= own[1] and (a, p) != own for a, p in values)
        assert (index in front) is not beaten
    assert [values[index][0] for index in front] == sorted((values[index][0] for index in front), reverse=True)


def test_better_is_nowhere_worse_and_somewhere_better() -> None:
    assert better([0.9, 10], [0.9, 11], BOTH) and not better([0.9, 10], [0.9, 10], BOTH)
    assert not better([0.8, 9], [0.9, 10], BOTH)


@pytest.mark.parametrize("value", [None, float("nan"), "0.9", True])
def test_what_is_no_number_is_lacking(value: object) -> None:
    with pytest.raises(MissingObjective, match="accuracy"):
        values_of({"accuracy": value, "parameters": 3}, BOTH)


def test_every_measure_that_a_summary_shows_has_a_direction() -> None:
    from crackdet.analysis.export import MEASURED

    others = {"epoch", "epochs", "valid_images", "valid_digest"}
    assert {name for name in MEASURED if name not in others} <= set(DIRECTIONS)


def test_what_decides_the_value_is_important_and_what_does_not_is_not() -> None:
    draw = random.Random(0)
    trials = [
        {"width": draw.randint(1, 1000), "rate": draw.choice([1, 2, 3]), "noise": draw.random(), "same": 1}
        for _ in range(200)
    ]
    values = [trial["width"] / 1000 + 0.1 * trial["rate"] for trial in trials]
    found = importances(trials, values)
    assert list(found)[:2] == ["width", "rate"] and found["width"] > 0.8 and 0.05 < found["rate"] < 0.4
    assert found["noise"] < 0.05 and "same" not in found
    assert importances(trials, [0.5] * 200) == importances(trials[:3], values[:3]) == {}


def test_a_parameter_of_some_options_only_is_judged_by_those_that_have_it() -> None:
    trials = [{"model": "a", "depth": i % 2} if i % 4 < 2 else {"model": "b"} for i in range(40)]
    values = [0.5 + 0.3 * trial.get("depth", 0) + 0.001 * i for i, trial in enumerate(trials)]  # type: ignore[operator]
    assert importances(trials, values)["depth"] > 0.9
