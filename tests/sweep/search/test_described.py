"""`hydra.sweeper.search_space` is checked as intervals on the command line are."""

from typing import Any

import pytest

from crackdet.core.errors import UserError
from crackdet.sweep.search.described import parse_described
from tests.sweep.search.conftest import Sweep


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "float", "low": 0, "high": 0.1, "log": True}, ".low=0.0: must be above 0 with log: true"),
        ({"type": "int", "low": 0, "high": 64, "log": True}, ".low=0: must be above 0"),
        ({"type": "int", "low": -8, "high": -4, "log": True}, ".low=-8: must be above 0"),
        ({"type": "int", "low": 8, "high": 64, "step": -8}, ".step=-8: must be above 0"),
        ({"type": "int", "low": 8, "high": 64, "step": 0}, ".step=0: must be above 0"),
        ({"type": "float", "low": 0, "high": 0.1, "step": 0.0}, ".step=0.0: must be above 0"),
        ({"type": "float", "low": 0, "high": 1, "step": 1e-9}, ".step=1e-09: gives more than 100,000 values"),
        ({"type": "int", "low": 8, "high": 64, "step": 8, "log": True}, ".step=8: is not possible with log: true"),
        ({"type": "int", "low": "a", "high": "b"}, ".low=a: must be a number"),
        ({"type": "int", "low": True, "high": 3}, ".low=True: must be a number"),
        ({"type": "float", "low": 0, "high": float("inf")}, ".high=inf: must be a number"),
        ({"type": "float", "low": float("nan"), "high": 1}, ".low=nan: must be a number"),
        ({"type": "int", "low": 1.5, "high": 3}, ".low=1.5: must be an integer"),
        ({"type": "int", "low": 64, "high": 8}, ": low=64 must be at most high=8"),
        ({"type": "int", "low": 8}, ": low=8 must be at most high=None"),
        ({"type": "int", "low": 8, "high": 64, "log": 1}, ".log=1: must be true or false"),
        ({"type": "int", "low": 8, "high": 64, "q": 8}, ".q: unknown key with type int; choose from high, log, low"),
        ({"type": "int", "low": 8, "hihg": 64}, ".hihg: unknown key with type int; did you mean high?"),
        ({"type": "categorical", "low": 8, "choices": [1]}, ".low: unknown key with type categorical"),
        ({"type": "categorical", "choices": []}, ".choices=[]: must be a list of at least one value"),
        ({"type": "categorical"}, ".choices=None: must be a list"),
        ({"type": "categorical", "choices": "abc"}, ".choices=abc: must be a list"),
        ({"type": "categorical", "choices": [{"a": 1}]}, ".choices: {'a': 1} must be a number, a text or a list"),
        ({"low": 8, "high": 64}, ".type=: must be one of int, float, categorical"),
        ({"type": "integer", "low": 8, "high": 64}, ".type=integer: must be one of int, float, categorical"),
        ([8, 16], "=[8, 16]: must be a mapping"),
        ("range(8,64)", "=range(8,64): must be a mapping"),
        (None, "=None: must be a mapping"),
    ],
)
def test_a_description_that_cannot_be_searched_is_refused_with_its_key(content: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_described("key", content)
    assert str(caught.value).startswith(f"hydra.sweeper.search_space.key{message}")


def test_texts_that_hydra_accepts_only_in_quotes_can_be_chosen() -> None:
    choices = ["a,b", "Brücke.pth", "range(1,3)", "plain", 8, None]
    assert list(parse_described("key", {"type": "categorical", "choices": choices}).values) == choices


def test_an_interval_of_many_integers_is_not_listed() -> None:
    parameter = parse_described("key", {"type": "int", "low": 1, "high": 10**15})
    assert (parameter.values, parameter.count) == ((), 10**15)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{trainer.patience:{type:int,low:0,high:64,log:true}}", "search_space.trainer.patience.low=0"),
        ("{model:{type:int,low:0,high:1}}", "search_space.model: needs type categorical"),
        ("{model.width:{type:int,low:1,high:2}}", "model.width: unknown key"),
    ],
)
def test_a_search_with_a_wrong_space_is_refused(search: Sweep, space: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        search(f"++hydra.sweeper.search_space={space}")
