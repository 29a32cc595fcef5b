"""The combinations of a grid: products, zipped keys, and settings of the sweep."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from crackdet.core.errors import UserError
from crackdet.sweep.grid import expand
from crackdet.sweep.selection import ExcludeFilter


def grid(*overrides: str, zipped: object = ()) -> list[list[str]]:
    return expand(OverridesParser.create().parse_overrides(list(overrides)), zipped=zipped)  # type: ignore[arg-type]


def test_zipped_values_are_paired_and_the_rest_is_multiplied() -> None:
    combinations = grid("a=1,2", "b=[1,2],[3]", "seed=0,1", zipped=["a", "b"])
    assert combinations == [
        ["a=1", "b=[1,2]", "seed=0"],
        ["a=1", "b=[1,2]", "seed=1"],
        ["a=2", "b=[3]", "seed=0"],
        ["a=2", "b=[3]", "seed=1"],
    ]
    assert len(grid("a=1,2", "b=1,2", "c=1,2,3", "d=4,5,6", zipped=[["a", "b"], ["c", "d"]])) == 6


@pytest.mark.parametrize(
    ("zipped", "message"),
    [
        (["a", "c"], "c has no values in this command"),
        (["a", "seed"], "paired keys need equally many values, but a has 2, seed has 3"),
        ([["a"], ["a", "b"]], "a is listed twice"),
    ],
)
def test_keys_that_cannot_be_zipped_are_named(zipped: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        grid("a=1,2", "b=3,4", "seed=0,1,2", zipped=zipped)


def test_settings_of_the_sweep_are_not_settings_of_its_runs() -> None:
    assert grid("sweep.dry_run=true", "a=1") == [["a=1"]]
    with pytest.raises(UserError, match="must have a single value"):
        grid("sweep.order=cheapest,given")


def test_an_unknown_setting_in_a_condition_is_named_with_the_one_that_was_meant() -> None:
    exclude = ExcludeFilter("model.depht > 3")
    assert not exclude({"model": {"name": "resnet", "depth": 50}})
    with pytest.raises(UserError, match=r"unknown setting model\.depht; did you mean model\.depth\?"):
        exclude.raise_for_unknown_settings()
