"""Valid and invalid settings, and the error messages."""

import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from crackdet.config.composing import CONF, compose
from crackdet.config.groups import GROUPS, PRESETS, TRACKERS
from crackdet.config.parsing import parse
from crackdet.config.schema import Augmentation, Config, MLflow, Seeded, TensorBoard, Tracker, to_dict
from crackdet.core.errors import UserError

OPTIONS = [(group, option) for group, options in GROUPS.items() for option in options]
REQUIRED = {name: ["data.root=images"] for name in GROUPS["data"] if name != "synthetic"}
REQUIRED["table"].append("data.table=labels.csv")


def error_of(*overrides: str) -> str:
    """Return the message with which overrides are refused."""
    with pytest.raises(UserError) as caught:
        compose(overrides)
    return str(caught.value)


# --- wrong values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.conv_out=[64,-1]"],
            "model.conv_out=[64,-1]: must be a non-empty list of integers >= 1, such as [64,128]",
        ),
        (["optimizer.learning_rate=abc"], "optimizer.learning_rate=abc: must be a number > 0"),
        (["optimizer.learning_rate=0"], "optimizer.learning_rate=0.0: must be a number > 0"),
        (["optimizer.learning_rate=nan"], "optimizer.learning_rate=nan: must be a number > 0"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0: must be an integer >= 1"),
        (["trainer.max_epochs=2.5"], "trainer.max_epochs=2.5: must be an integer >= 1"),
        (["trainer.monitor=accuracy"], "trainer.monitor=accuracy: must be one of valid_loss, valid_accuracy, "),
        (["model.freeze_features=maybe"], "model.freeze_features=maybe: must be true or false"),
        (["model.input_std=[1,1]"], "model.input_std=[1.0,1.0]: must be a list of 3 numbers > 0, or null"),
        (
            ["data.augmentation.rotation=181"],
            "data.augmentation.rotation=181.0: must be a number >= 0 and <= 180",
        ),
        (["seed=-1"], "seed=-1: must be an integer >= 0"),
        (["runtime.num_workers=-1"], "runtime.num_workers=-1: must be an integer >= 0, or null"),
        (["runtime.keep_weights=best"], "runtime.keep_weights=best: must be of the form all or none or best:NUMBER"),
        (["sweep.zip=model"], "sweep.zip=model: must be a list of values"),
        (["trainer.batchsize=8"], "trainer.batchsize: unknown key; did you mean trainer.batch_size?"),
        (["+trainer.batchsize=8"], "trainer.batchsize: unknown key; did you mean trainer.batch_size?"),
        (["sede=1"], "sede: unknown key; did you mean seed?"),
        (["tracker=tensorboard", "+tracker.tensorboard.a=1"], "tracker.tensorboard.a: unknown key; choose from folder"),
        (
            ["model=customs"],
            "model=customs: no such option; choose from convnext_tiny, custom, efficientnet_b0, mobilenet_v2, ",
        ),
        (["data/augmentation=flip"], "data/augmentation=flip: no such option; choose from flips, full, none"),
        (["data=folder"], "data.root: missing; give it as in data.root=VALUE"),
        (["data=filename_labels"], "data.root: missing; give it as in data.root=VALUE"),
        (
            ["~scheduler"],
            "scheduler: missing; choose an option with scheduler=NAME, from constant, cosine, step, plateau",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_its_value_and_what_is_allowed(
    overrides: list[str], message: str
) -> None:
    error = error_of(*overrides)
    assert error.startswith(message)
    assert "\n" not in error


def test_images_too_small_for_the_convolutions_are_refused_with_the_smallest_size_that_fits() -> None:
    message = error_of("model.conv_out=[8,8,8,8,8,8]", "data.image_size=63")
    assert message == (
        "data.image_size=63: must be at least 64; each convolution of model.conv_out=[8,8,8,8,8,8] halves the image"
    )
    compose(["model.conv_out=[8,8,8,8,8,8]", "data.image_size=64"])


@pytest.mark.parametrize("size", [23, 1025])
def test_a_size_that_synthetic_images_cannot_have_is_refused(size: int) -> None:
    message = error_of(f"data.image_size={size}")
    assert message == f"data.image_size={size}: must be from 24 to 1024 with data=synthetic"


def test_a_split_without_training_images_is_refused() -> None:
    message = error_of("data.valid_fraction=0.5", "data.test_fraction=0.5")
    assert message.startswith("data.valid_fraction=0.5, data.test_fraction=0.5: their sum must be < 1")


def test_nesterov_without_momentum_is_refused() -> None:
    assert "optimizer.momentum" in error_of("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0")


def test_an_interpolation_of_an_unknown_key_is_refused() -> None:
    assert error_of("trainer.max_epochs=${epochs}").startswith("trainer.max_epochs: Interpolation key 'epochs'")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "data.augmentation.rotations",
            3,
            "data.augmentation.rotations: unknown key; did you mean data.augmentation.rotation?",
        ),
        ("data.augmentation.hue", "red", "data.augmentation.hue=red: must be a number >= 0 and <= 0.5"),
        ("data.crack_names", [], "data.crack_names=[]: must be a non-empty list of texts"),
        ("optimizer.name", "lion", "optimizer.name=lion: must be one of adam, adamw, sgd"),
        ("epochs", 3, "epochs: unknown key; did you mean trainer.max_epochs?"),
        ("nothing", 3, "nothing: unknown key; choose from data, model,"),
        ("seed", None, "seed=None: must be an integer"),
    ],
)
def test_a_stored_configuration_is_checked_as_strictly_as_overrides(key: str, value: object, message: str) -> None:
    tree = to_dict(compose(["data=folder", "data.root=images"]))
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node[parent]
    node[last] = value
    with pytest.raises(UserError) as caught:
        parse(tree)
    assert str(caught.value).startswith(message)


def test_an_empty_text_is_refused_if_the_setting_needs_one() -> None:
    message = error_of("data=filename_labels", "data.root=images", "data.negative_mark=''")
    assert message == "data.negative_mark=: must be non-empty text or a list of them, or null"


# --- right values -------------------------------------------------------------------------------------


def test_a_number_gets_the_type_of_the_schema_in_any_notation() -> None:
    config = compose(["optimizer.learning_rate=1e-3", "optimizer.weight_decay=1", "trainer.gradient_clip_norm=2"])
    assert config.optimizer.learning_rate == 0.001
    assert (type(config.optimizer.weight_decay), type(config.trainer.gradient_clip_norm)) == (float, float)


def test_augmentation_is_a_group_with_options() -> None:
    chosen = compose(["data/augmentation=flips", "data.augmentation.rotation=10"]).data.augmentation
    assert chosen == Augmentation(horizontal_flip=True, vertical_flip=True, rotate90=True, rotation=10.0)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_to_its_schema_and_survives_storage(group: str, option: str) -> None:
    config = compose([f"{group}={option}", *REQUIRED.get(option, [])])
    assert type(getattr(config, group)) is GROUPS[group][option]
    assert parse(to_dict(config)) == config


def values(kind: Any, constraints: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for the values that a field of this type and these constraints allows."""
    if get_origin(kind) in (Union, types.UnionType):
        return st.none() | values(next(part for part in get_args(kind) if part is not type(None)), constraints)
    if get_origin(kind) is dict:
        return st.dictionaries(st.sampled_from(["betas", "eps"]), st.floats(0, 1))
    if get_origin(kind) is list:
        low, high = constraints.get("min_length", 0), constraints.get("max_length", 4)
        each = {name: limit for name, limit in constraints.items() if name not in ("min_length", "max_length")}
        return st.lists(values(get_args(kind)[0], each), min_size=low, max_size=high)
    if "pattern" in constraints:
        return st.from_regex(constraints["pattern"], fullmatch=True, alphabet="0123456789alnoebst:")
    if "choices" in constraints:
        return st.sampled_from(constraints["choices"])
    if is_dataclass(kind):
        return instances(kind)  # type: ignore[arg-type]
    if kind is float:
        return st.floats(
            constraints.get("ge", constraints.get("gt")),
            constraints.get("le", constraints.get("lt")),
            exclude_min="gt" in constraints,
            exclude_max="lt" in constraints,
            allow_nan=False,
            allow_infinity=False,
        )
    integers = st.integers(constraints.get("ge", -9), constraints.get("ge", 0) + 9)
    texts = st.text("ab c_-/.~é7", min_size=1)
    return {bool: st.booleans(), int: integers, str: texts, Any: texts}[kind]


COMPATIBLE: dict[str, st.SearchStrategy[Any]] = {  # settings that constrain each other have tests of their own
    "image_size": st.integers(64, 1024),
    "valid_fraction": st.just(0.25),
    "test_fraction": st.floats(0.0, 0.5),
    "nesterov": st.just(False),
    "mixup": st.none(),
    "cutmix": st.none(),
    "unfreeze_epochs": st.none(),
    "warmup_epochs": st.sampled_from([0.25, 1.0]),
    "probe": st.none(),
}


def instances(schema: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(schema)
    strategies = {
        item.name: COMPATIBLE.get(item.name, values(hints[item.name], item.metadata)) for item in fields(schema)
    }
    if schema.__name__ in ("TorchvisionModel", "TimmModel"):
        strategies["name"] = st.sampled_from(["mobilenet_v2", "vit_b_16"])
    return st.builds(schema, **strategies)


configurations = st.builds(
    Config,
    seed=st.integers(0, 2**40),
    **{group: st.one_of(*map(instances, options.values())) for group, options in GROUPS.items()},
)


@settings(max_examples=120, deadline=None)
@given(configurations)
def test_a_stored_configuration_parses_to_the_same_configuration(config: Config) -> None:
    assert parse(to_dict(config)) == config


# --- conf/ agrees with the schema --------------------------------------------------------------------


def settings_of(file: Path) -> dict[str, Any]:
    """Return the settings of a YAML file, without its defaults list."""
    tree = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items() if key != "defaults"}


def defaults(schema: type) -> dict[str, Any]:
    default = schema()
    return {item.name: getattr(default, item.name) for item in fields(schema)}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_yaml_file_has_every_setting_with_the_default_of_the_schema(group: str, option: str) -> None:
    expected = defaults(GROUPS[group][option])
    expected.pop("augmentation", None)  # has files of its own
    expected = {key: value for key, value in expected.items() if key not in TRACKERS}  # likewise
    assert settings_of(CONF / group / f"{option}.yaml") == expected


def test_every_augmentation_file_has_every_setting_and_none_is_the_default() -> None:
    files = {file.stem: settings_of(file) for file in (CONF / "data" / "augmentation").glob("*.yaml")}
    assert files["none"] == defaults(Augmentation)
    assert {frozenset(file) for file in files.values()} == {frozenset(defaults(Augmentation))}


@pytest.mark.parametrize("group", GROUPS)
def test_every_yaml_file_of_a_group_has_a_schema(group: str) -> None:
    others = {"tracker": set(TRACKERS), "model": set(PRESETS)}.get(group, set())
    assert {file.stem for file in (CONF / group).glob("*.yaml")} == set(GROUPS[group]) | others


@pytest.mark.parametrize("tracker", TRACKERS)
def test_every_tracker_has_a_file_and_trackers_can_be_combined(tracker: str) -> None:
    assert settings_of(CONF / "tracker" / f"{tracker}.yaml") == {tracker: defaults(TRACKERS[tracker])}
    assert compose([f"tracker={tracker}"]).tracker == Tracker(**{tracker: TRACKERS[tracker]()})
    both = compose(["tracker=[tensorboard,mlflow]", "tracker.mlflow.uri=http://there"]).tracker
    assert both == Tracker(TensorBoard(), MLflow("http://there"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tracker.mlflow.uri=x", "it belongs to tracker=mlflow"),
        ("tracker.mlflow.urn=x", "did you mean tracker.mlflow.uri"),
    ],
)
def test_a_setting_of_a_tracker_that_is_not_used_is_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose([override])


def test_the_primary_file_has_the_seed() -> None:
    assert settings_of(CONF / "config.yaml") == defaults(Seeded)
