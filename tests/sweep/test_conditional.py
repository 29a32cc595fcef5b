"""Settings that only some of a grid's options have apply to these options."""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import fields

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdet.config.composing import CONF
from crackdet.config.groups import GROUPS, register
from crackdet.sweep.composition import CachedComposer
from crackdet.sweep.conditional import apply_where_possible

NETWORKS = {"custom": "custom", "torchvision": "torchvision", "timm/resnet18": "timm"}
OPTIONS = {  # few, since Hydra composes each choice of options in 60 ms
    "model": list(NETWORKS),
    "optimizer": ["adam", "sgd"],
    "scheduler": ["step", "plateau"],
    "data": ["synthetic", "folder"],
}
MAX_GROUPS = 2  # of a grid
VALUES = {
    "model.conv_out": ["[8]", "[16]"], "model.name": ["resnet50", "vgg11"], "model.linear_features": ["8", "9"],
    "optimizer.momentum": ["0.8", "0.9"], "optimizer.beta1": ["0.8"], "optimizer.learning_rate": ["0.1", "0.2"],
    "scheduler.gamma": ["0.5", "0.6"], "scheduler.factor": ["0.5"], "scheduler.patience": ["2", "3"],
    "data.root": ["a", "b"], "data.num_images": ["40"], "data.augmentation.hue": ["0.1", "0.2"],
}  # fmt: skip
options_of_groups = st.lists(st.sampled_from(list(OPTIONS)), max_size=MAX_GROUPS, unique=True).flatmap(
    lambda groups: st.fixed_dictionaries(
        {group: st.lists(st.sampled_from(OPTIONS[group]), min_size=1, unique=True) for group in groups}
    )
)
axes = st.tuples(
    options_of_groups, st.fixed_dictionaries({}, optional={key: st.just(values) for key, values in VALUES.items()})
)


@pytest.fixture(scope="module")
def composer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CachedComposer]:
    """A composer that also knows a user's network, `model=mine`."""
    register()
    folder = tmp_path_factory.mktemp("settings")
    (folder / "model").mkdir()
    (folder / "model" / "mine.yaml").write_text("_target_: mine.Net\nname: mine\nwidth: 4\n")
    with initialize_config_dir(str(CONF)):
        config = compose("config", [f"hydra.searchpath=[{folder}]"], return_hydra_config=True)
        yield CachedComposer(GlobalHydra.instance().config_loader(), config)


def grid(axes: dict[str, list[str]]) -> list[list[str]]:
    return [
        [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
        for values in itertools.product(*axes.values())
    ]


def has(option: str, key: str) -> bool:
    """Return whether the schema of an option has a setting, whose value may be chosen."""
    group, name = key.split(".")[:2]
    schema = GROUPS[group][NETWORKS[option] if group == "model" else option]
    return option == "torchvision" if key == "model.name" else name in {item.name for item in fields(schema)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(axes=axes)
def test_each_combination_has_the_settings_of_its_options_and_no_two_are_equal(
    composer: CachedComposer, axes: tuple[dict[str, list[str]], dict[str, list[str]]]
) -> None:
    options, values = axes
    swept = {key: options[key.partition(".")[0]] for key in values if len(options.get(key.partition(".")[0], [])) > 1}
    anywhere = {key for key, chosen in swept.items() if any(has(option, key) for option in chosen)}
    expected: dict[tuple[str, ...], None] = {}
    for combination in grid({**options, **values}):
        chosen = dict(text.split("=") for text in combination)
        kept = [
            text
            for text in combination
            if (key := text.partition("=")[0]) not in anywhere or has(chosen[key.partition(".")[0]], key)
        ]
        expected[tuple(kept)] = None
    assert apply_where_possible(grid({**options, **values}), composer) == [list(texts) for texts in expected]


def test_one_line_says_which_options_have_a_setting(composer: CachedComposer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "crackdet"):
        apply_where_possible(grid({"model": ["custom", "resnet18"], "model.linear_features": ["8", "9"]}), composer)
        assert not caplog.records
        apply_where_possible(
            grid({"model": ["custom", "resnet18", "torchvision"], "model.conv_out": ["[8]", "[16]"]}), composer
        )
    (record,) = caplog.records
    assert record.getMessage() == ("model.conv_out applies to model=custom only; 6 combinations are reduced to 4")


def test_a_setting_that_no_option_has_stays_to_be_refused(composer: CachedComposer) -> None:
    combinations = grid({"optimizer": ["adam", "adamw"], "optimizer.momentum": ["0.8"]})
    assert apply_where_possible(combinations, composer) == combinations


def test_the_points_of_an_experiment_keep_the_settings_that_they_have(composer: CachedComposer) -> None:
    points = [["model=custom", "model.conv_out=[8]"], ["model=resnext50", "model.conv_out=[8]"], ["model.conv_out=[9]"]]
    assert apply_where_possible(points, composer) == [points[0], ["model=resnext50"], points[2]]


def test_a_users_network_has_its_own_settings_and_those_of_every_network(composer: CachedComposer) -> None:
    axes = {
        "model": ["custom", "mine"], "model.width": ["4", "6"], "model.conv_out": ["[8]"],
        "model.linear_features": ["9"],
    }  # fmt: skip
    assert apply_where_possible(grid(axes), composer) == [
        ["model=custom", "model.conv_out=[8]", "model.linear_features=9"],
        ["model=mine", "model.width=4", "+model.linear_features=9"],
        ["model=mine", "model.width=6", "+model.linear_features=9"],
    ]
