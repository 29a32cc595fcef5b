"""Which runs a grid consists of: pairs, exclusions, the order, the plan."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from crackdet.core.errors import UserError
from crackdet.sweep.expression import Expression
from crackdet.sweep.grid import expand

SETTINGS = {
    "model.name": "custom",
    "model.conv_out": [64, 128],
    "model.linear_features": 512,
    "optimizer.learning_rate": 1e-4,
    "trainer.gradient_clip_norm": None,
    "seed": 1,
}


def grid(*overrides: str, paired: object = ()) -> list[list[str]]:
    return expand(OverridesParser.create().parse_overrides(list(overrides)), paired=paired)  # type: ignore[arg-type]


def test_paired_values_go_together_and_the_rest_is_multiplied() -> None:
    found = grid("a=1,2", "b=[1,2],[3]", "seed=0,1", paired=["a", "b"])
    assert found == [
        ["a=1", "b=[1,2]", "seed=0"],
        ["a=1", "b=[1,2]", "seed=1"],
        ["a=2", "b=[3]", "seed=0"],
        ["a=2", "b=[3]", "seed=1"],
    ]
    assert len(grid("a=1,2", "b=1,2", "c=1,2,3", "d=4,5,6", paired=[["a", "b"], ["c", "d"]])) == 6


@pytest.mark.parametrize(
    ("paired", "message"),
    [
        (["a", "c"], "c is given no values in this sweep"),
        (["a", "seed"], "paired keys need equally many values, but a has 2, seed has 3"),
        ([["a"], ["a", "b"]], "a stands there twice"),
    ],
)
def test_keys_that_cannot_be_paired_are_named(paired: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        grid("a=1,2", "b=3,4", "seed=0,1,2", paired=paired)


def test_settings_of_the_sweep_are_none_of_its_runs() -> None:
    assert grid("sweep.dry_run=true", "a=1") == [["a=1"]]
    with pytest.raises(UserError, match="cannot be swept over"):
        grid("sweep.order=cheapest,given")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.linear_features > 256", True),
        ("256 < model.linear_features <= 512 and seed == 1", True),
        ("model == 'custom' and model.conv_out == [64, 128]", True),
        ("model.name != 'custom' or not seed in (1, 2)", False),
        ("model.conv_out[-1] / model.conv_out[0] == 2 and len(model.conv_out) == 2", True),
        ("sum(model.conv_out) % 100 - -8 == 100", True),
        ("trainer.gradient_clip_norm == null", True),
        ("model.depth > 3", False),
        ("not model.depth > 3", True),
        ("optimizer.learning_rate < 1e-3 and max(model.conv_out) // 3 == 42", True),
    ],
)
def test_an_expression_is_decided_on_the_settings(text: str, expected: bool) -> None:
    assert Expression(text).holds(SETTINGS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "().__class__.__bases__", "[x for x in (1,)]", "lambda: 1", "2 ** 99",
        "open('x')", "len.__self__()", "len(*[1])", "f'{seed}'", "seed := 2", "", "seed ==", "seed; seed",
        "1 if seed else 2", "{1: 2}", "seed is 1", "~seed", "max(key=seed)", "'a'.upper() == 'A'", "x" * 2000,
    ],
)  # fmt: skip
def test_whatever_is_no_plain_condition_is_refused_before_it_is_evaluated(text: str) -> None:
    with pytest.raises(UserError, match=r"sweep\.exclude="):
        Expression(text)


@pytest.mark.parametrize(
    "text", ["seed < 'a'", "seed / 0 == 1", "model.conv_out[5] == 1", "[0] * 99 == 1", "len(seed)"]
)
def test_what_cannot_be_decided_is_said(text: str) -> None:
    with pytest.raises(UserError, match="cannot be decided"):
        Expression(text).holds(SETTINGS)


@given(st.text(max_size=30))
def test_no_text_does_anything_but_decide_or_be_refused(text: str) -> None:
    try:
        Expression(text).holds(SETTINGS)
    except UserError as error:
        assert str(error).startswith("sweep.exclude=")


def test_a_mistyped_setting_is_found_even_where_it_was_not_needed() -> None:
    expression = Expression("seed == 2 and model.depht > 3")
    expression.holds(SETTINGS)
    assert expression.sought - expression.found == {"model.depht"}
