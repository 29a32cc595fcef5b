"""Values are counted before they are listed."""

import pytest

from crackdet.config.overrides import parse_overrides
from crackdet.core.errors import UserError
from crackdet.sweep.counting import num_single_values
from crackdet.sweep.grid import expand


@pytest.mark.parametrize(
    ("value", "count"),
    [("1", 1), ("1,2,3", 3), ("range(1,4)", 3), ("range(0,1,0.1)", 10), ("range(9,1,-4)", 2), ("[1,2],[3]", 2)],
)
def test_the_number_of_values_is_that_of_hydras_list(value: str, count: int) -> None:
    (override,) = parse_overrides([f"key={value}"])
    assert num_single_values(override) == count
    assert len(expand([override])) == count


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("range(1,1e9)", "has 999,999,999 values, but at most 100,000 can be listed"),
        ("shuffle(range(1,1e9))", "has 999,999,999 values"),
        ("int(range(1,1e9))", "has 999,999,999 values"),
        ("range(0,1,1e-300)", "values, but at most 100,000"),
        ("range(8,64,0)", "the step of a range must not be 0"),
        ("range(0.1,1.0,0.0)", "the step of a range must not be 0"),
        ("range(1,inf)", "must begin and end with finite numbers"),
        ("range(nan,1)", "must begin and end with finite numbers"),
        ("range(5,1)", "the range is empty"),
        ("interval(1,2)", "a grid needs single values"),
        ("choice(1,choice(2,3))", "a choice must have single values"),
    ],
)
def test_values_that_cannot_be_listed_are_refused_with_the_key(value: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        expand(parse_overrides([f"key={value}"]))
    assert str(caught.value).startswith(f"key={value}: ") and message in str(caught.value)


def test_too_many_combinations_are_refused_before_they_are_listed() -> None:
    many = parse_overrides(["a=range(0,1000)", "b=range(0,1000)", "c=1"])
    with pytest.raises(UserError, match=r"the sweep has 1,000,000 combinations \(a has 1,000, b has 1,000 values\)"):
        expand(many)
    assert len(expand(many, zipped=["a", "b"])) == 1000
    points = [parse_overrides([f"c={index}"]) for index in range(101)]
    with pytest.raises(UserError, match="the sweep has 101,000 combinations"):
        expand(many[:1], points)
