"""The conditions of `sweep.exclude`: what they mean, and that nothing else is accepted."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.core.errors import UserError
from crackdet.sweep.expression import Expression

SETTINGS = {
    "model.name": "custom",
    "model.conv_out": [64, 128],
    "model.linear_features": 512,
    "optimizer.learning_rate": 1e-4,
    "trainer.gradient_clip_norm": None,
    "seed": 1,
}


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
        ("model.depth not in (1, 2) or model.depth", False),
        ("optimizer.learning_rate < 1e-3 and max(model.conv_out) // 3 == 42", True),
    ],
)
def test_an_expression_is_evaluated_on_the_settings(text: str, expected: bool) -> None:
    assert Expression(text).evaluate(SETTINGS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "().__class__.__bases__", "[x for x in (1,)]", "lambda: 1", "2 ** 99",
        "open('x')", "len.__self__()", "len(*[1])", "f'{seed}'", "seed := 2", "", "seed ==", "seed; seed",
        "1 if seed else 2", "{1: 2}", "seed is 1", "~seed", "max(key=seed)", "'a'.upper() == 'A'", "x" * 2000,
    ],
)  # fmt: skip
def test_anything_but_a_plain_condition_is_refused_before_it_is_evaluated(text: str) -> None:
    with pytest.raises(UserError, match=r"sweep\.exclude="):
        Expression(text)


@pytest.mark.parametrize(
    "text",
    ["seed < 'a'", "seed / 0 == 1", "model.conv_out[5] == 1", "[0] * 99 == 1", "'%d' % seed == '1'", "len(seed)"],
)
def test_a_condition_that_cannot_be_evaluated_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match="cannot be evaluated"):
        Expression(text).evaluate(SETTINGS)


def test_deep_nesting_is_an_error_rather_than_an_exhausted_stack() -> None:
    with pytest.raises(UserError, match=r"sweep\.exclude="):
        Expression("-" * 990 + "1").evaluate(SETTINGS)


TOKENS = ("seed", "1", "'a'", "[", "]", "(", ")", ",", ".", "+", "*", "==", "<", "and", "not", "in", "len")


@given(st.text(max_size=30) | st.lists(st.sampled_from(TOKENS)).map(" ".join))
def test_any_text_is_either_evaluated_or_refused(text: str) -> None:
    try:
        result = Expression(text).evaluate(SETTINGS)
    except UserError as error:
        assert str(error).startswith("sweep.exclude=")
    else:
        assert isinstance(result, bool)


numbers = st.recursive(
    st.sampled_from(["seed", "model.linear_features", "model.conv_out[0]", "0", "2", "512", "1.5"]),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner)
        | st.builds("max({}, -{})".format, inner, inner)
    ),
    max_leaves=4,
)
comparisons = st.builds("{} {} {}".format, numbers, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), numbers)
chains = st.builds("{} < {} <= {}".format, numbers, numbers, numbers)
members = st.builds("{} {} [{}, {}]".format, numbers, st.sampled_from(["in", "not in"]), numbers, numbers)
conditions = st.recursive(
    comparisons | chains | members,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("(not {})".format, inner)
    ),
    max_leaves=4,
)


@given(conditions)
def test_a_condition_means_what_it_means_in_python(text: str) -> None:
    model = SimpleNamespace(linear_features=512, conv_out=[64, 128])
    assert Expression(text).evaluate(SETTINGS) is eval(text, {"seed": 1, "model": model})


def test_a_mistyped_setting_is_found_even_if_it_is_not_evaluated() -> None:
    expression = Expression("seed == 2 and model.depht > 3")
    expression.evaluate(SETTINGS)
    assert expression.keys - expression.found_keys == {"model.depht"}
