"""The suggestions for a parameter are the values of Hydra's grid, and are recognized in a run."""

import math
from dataclasses import asdict

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from crackdet.core.errors import UserError
from crackdet.sweep.grid import expand
from crackdet.sweep.search.described import parse_described
from crackdet.sweep.search.parameter import Parameter, parse_parameter, with_integer_interval

PARSER = OverridesParser.create()

numbers = st.integers(-50, 2000)
words = st.sampled_from(["null", "true", "1", "2.5", "abc", "'a b'", "[64,128]", "[]", "[1,[2,3]]", "1e-4", "x/y.pth"])
choices = st.lists(words, min_size=2, max_size=5, unique=True).map(",".join)
int_ranges = st.tuples(numbers, st.integers(1, 400), st.integers(1, 90)).map(
    lambda t: f"range({t[0]},{t[0] + t[1]},{t[2]})"
)
floats = st.sampled_from([0.1, 0.05, 0.25, 1e-3, 1e-5, 0.3])
float_ranges = st.tuples(floats, st.integers(1, 30), floats).map(
    lambda t: f"range({t[0]!r},{t[0] + t[1] * t[2]!r},{t[2]!r})"
)
other_lists = st.sampled_from(
    ["range(9,1,-2)", "shuffle(range(1,9))", "sort(3,1,2)", "choice(5)", "range(3,4)", "int(range(1.0,6.0))"]
)


def parameter(text: str, integer: bool | None = None) -> Parameter:
    return parse_parameter(PARSER.parse_override(f"key={text}"), integer)


def value(override: str) -> object:
    return PARSER.parse_override(override).value()


@settings(deadline=None, max_examples=60)
@given(text=st.one_of(choices, int_ranges, float_ranges, other_lists), seed=st.integers(0, 99))
def test_the_suggestions_are_the_values_of_the_grid(text: str, seed: int) -> None:
    grid = {override for (override,) in expand(PARSER.parse_overrides([f"key={text}"]))}
    values = [value(override) for override in grid]
    own = parameter(text)
    assert sorted(map(repr, map(own.value, own.all()))) == sorted(map(repr, values))
    assert own.count == len(grid)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    asked = study.ask()
    suggested = own.suggest(asked)
    assert value(own.override(suggested)) in values
    assert own.find(own.value(suggested)) == suggested
    assert asked.distributions[own.name] == own.distribution()
    assert Parameter.from_json(asdict(own)) == own


@settings(deadline=None, max_examples=40)
@given(text=st.one_of(choices, int_ranges, float_ranges, other_lists))
def test_every_value_fits_the_distribution(text: str) -> None:
    own, study = parameter(text), optuna.create_study()
    for suggested in own.all():
        assert own.find(own.value(suggested)) == suggested
        params, distributions = {own.name: suggested}, {own.name: own.distribution()}
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.0, params=params, distributions=distributions))


@pytest.mark.parametrize(
    ("text", "integer", "expected"),
    [
        ("range(256,1025,256)", None, [256, 512, 768, 1024]),
        ("range(256,1024,256)", None, [256, 512, 768]),
        ("range(1,3)", None, [1, 2]),
        ("interval(1,5)", True, [1, 2, 3, 4, 5]),
        ("interval(1,5)", None, [1, 2, 3, 4, 5]),
        ("interval(0.5,2.5)", True, [1, 2]),
        ("tag(log,interval(3,5))", True, [3, 4, 5]),
    ],
)
def test_integers_stay_integers_and_a_range_excludes_its_end(
    text: str, integer: bool | None, expected: list[int]
) -> None:
    own = parameter(text, integer)
    assert own.all() == expected and all(type(value) is int for value in own.all())
    assert own.find(expected[-1] + 1) is None and own.find(expected[0] + 0.5) is None


def test_an_interval_of_a_float_setting_is_continuous_even_with_integer_bounds() -> None:
    own = parameter("interval(0,1)", integer=False)
    assert own.kind == "float" and own.count is None
    assert own.find(1) == 1.0 and own.find(0.123) == 0.123 and own.find(1.1) is None
    log = parameter("tag(log,interval(1e-5,1e-2))", integer=False)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    suggested = [math.log10(log.suggest(study.ask())) for _ in range(200)]
    assert -5 <= min(suggested) < -4.5 and -2.5 < max(suggested) <= -2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("range(3,3)", "the range is empty"),
        ("interval(5,1)", "the first end of an interval must be below the second"),
        ("tag(log,interval(0,1))", "must begin above 0"),
        ("interval(1.2,1.8)", "contains no integer"),
        ("tag(log,range(1,9))", "log is for an interval"),
    ],
)
def test_values_that_cannot_be_searched_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parameter(text, integer=True)


def test_a_described_parameter_equals_one_from_an_override() -> None:
    assert parse_described("key", {"type": "int", "low": 1, "high": 9, "step": 4}).all() == [1, 5, 9]
    assert parse_described("key", {"type": "categorical", "choices": [[1, 2], None, "a"]}).all() == [
        "[1,2]",
        "null",
        "a",
    ]
    assert parse_described("key", {"type": "float", "low": 0.1, "high": 0.5, "step": 0.2}).all() == [0.1, 0.3, 0.5]
    log = parse_described("key", {"type": "float", "low": 1e-4, "high": 1e-1, "log": True})
    assert log.log and log.count is None
    with pytest.raises(UserError, match=r"search_space\.key"):
        parse_described("key", {"type": "float", "low": 2, "high": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.linear_features=interval(16,64)", "model.linear_features=int(interval(16,64))"),
        ("trainer.max_epochs=tag(log,interval(1,9))", "trainer.max_epochs=int(tag(log,interval(1,9)))"),
        ("optimizer.learning_rate=interval(1,2)", "optimizer.learning_rate=interval(1,2)"),
        ("model.linear_features=range(1,9)", "model.linear_features=range(1,9)"),
        ("model.own_setting=interval(1,2)", "model.own_setting=interval(1,2)"),
        ("~model.linear_features", "~model.linear_features"),
    ],
)
def test_only_the_interval_of_a_integer_setting_becomes_one_of_integers(text: str, expected: str) -> None:
    assert with_integer_interval(text) == expected
