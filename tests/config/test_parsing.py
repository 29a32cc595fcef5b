"""Settings as a user gives them: what is taken, what is refused, and with which words."""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from crackdet.config.composing import CONF, compose
from crackdet.config.parsing import parse, register
from crackdet.config.schema import (
    GROUPS,
    TRACKERS,
    Augmentation,
    Config,
    MLflow,
    Seeded,
    TensorBoard,
    Tracker,
    UserModel,
    to_dict,
)
from crackdet.core.errors import UserError

OPTIONS = [(group, option) for group, options in GROUPS.items() for option in options]
ROOT = {"folder": ["data.root=photographs"], "filename_labels": ["data.root=photographs"]}


def refusal(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        compose(overrides)
    return str(caught.value)


# --- wrong values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.conv_out=[64,-1]"],
            "model.conv_out=[64,-1]: must be a list of whole numbers such as [64,128], at least one, each at least 1",
        ),
        (["optimizer.learning_rate=abc"], "optimizer.learning_rate=abc: must be a number above 0"),
        (["optimizer.learning_rate=0"], "optimizer.learning_rate=0.0: must be a number above 0"),
        (["optimizer.learning_rate=nan"], "optimizer.learning_rate=nan: must be a number above 0"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0: must be a whole number at least 1"),
        (["trainer.max_epochs=2.5"], "trainer.max_epochs=2.5: must be a whole number at least 1"),
        (["trainer.monitor=accuracy"], "trainer.monitor=accuracy: must be one of valid_loss, valid_accuracy, "),
        (["model.freeze_features=maybe"], "model.freeze_features=maybe: must be true or false"),
        (["model.input_std=[1,1]"], "model.input_std=[1.0,1.0]: must be a list of 3 numbers, each above 0, or null"),
        (["data.augmentation.rotation=181"], "data.augmentation.rotation=181.0: must be a number at least 0 and at "),
        (["seed=-1"], "seed=-1: must be a whole number at least 0"),
        (["runtime.num_workers=-1"], "runtime.num_workers=-1: must be a whole number at least 0, or null"),
        (["trainer.batchsize=8"], "trainer.batchsize: unknown key; did you mean batch_size?"),
        (["+trainer.batchsize=8"], "trainer.batchsize: unknown key; did you mean batch_size?"),
        (["sede=1"], "sede: unknown key; did you mean seed?"),
        (["tracker=tensorboard", "+tracker.tensorboard.a=1"], "tracker.tensorboard.a: unknown key; known are folder"),
        (["model=customs"], "model=customs: no such option; there are custom, resnext50, torchvision"),
        (["data/augmentation=flip"], "data/augmentation=flip: no such option; there are flips, full, none"),
        (["data=folder"], "data.root: missing; give it as in data.root=VALUE"),
        (["data=filename_labels"], "data.root: missing; give it as in data.root=VALUE"),
        (["~scheduler"], "scheduler: missing; one of constant, cosine, step, plateau is needed"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_its_value_and_what_is_allowed(
    overrides: list[str], message: str
) -> None:
    said = refusal(*overrides)
    assert said.startswith(message)
    assert "\n" not in said


def test_images_too_small_for_the_poolings_are_refused_with_the_smallest_size_that_fits() -> None:
    message = refusal("model.conv_out=[8,8,8,8,8,8]", "data.image_size=63")
    assert message.startswith("data.image_size=63: too small for the 6 poolings of model.conv_out=[8,8,8,8,8,8]")
    assert message.endswith("at least 64")
    compose(["model.conv_out=[8,8,8,8,8,8]", "data.image_size=64"])


@pytest.mark.parametrize("size", [23, 1025])
def test_sizes_that_synthetic_photographs_are_not_drawn_in_are_refused(size: int) -> None:
    assert refusal(f"data.image_size={size}").startswith(f"data.image_size={size}: synthetic photographs are drawn")


def test_a_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    message = refusal("data.valid_fraction=0.5", "data.test_fraction=0.5")
    assert message.startswith("data.valid_fraction=0.5, data.test_fraction=0.5: must together be below 1")


def test_nesterov_without_momentum_is_refused() -> None:
    assert "optimizer.momentum" in refusal("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0")


def test_an_interpolation_of_an_unknown_key_is_refused() -> None:
    assert refusal("trainer.max_epochs=${epochs}").startswith("trainer.max_epochs: Interpolation key 'epochs'")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.augmentation.rotations", 3, "data.augmentation.rotations: unknown key; did you mean rotation?"),
        ("data.augmentation.hue", "red", "data.augmentation.hue=red: must be a number at least 0 and at most 0.5"),
        ("data.crack_names", [], "data.crack_names=[]: must be a list of texts, at least one"),
        ("optimizer.name", "lion", "optimizer.name=lion: must be one of adam, adamw, sgd"),
        ("epochs", 3, "epochs: unknown key; known are data, model,"),
        ("seed", None, "seed=None: must be a whole number"),
    ],
)
def test_a_stored_configuration_is_read_as_strictly_as_a_typed_one(key: str, value: object, message: str) -> None:
    tree = to_dict(compose(["data=folder", "data.root=photographs"]))
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node[parent]
    node[last] = value
    with pytest.raises(UserError) as caught:
        parse(tree)
    assert str(caught.value).startswith(message)


def test_an_empty_text_is_refused_where_there_has_to_be_one() -> None:
    message = refusal("data=filename_labels", "data.root=photographs", "data.negative_mark=''")
    assert message == "data.negative_mark=: must be text, not empty"


# --- right values -------------------------------------------------------------------------------------


def test_numbers_become_what_the_schema_says_whatever_their_form() -> None:
    config = compose(["optimizer.learning_rate=1e-3", "optimizer.weight_decay=1", "trainer.gradient_clip_norm=2"])
    assert config.optimizer.learning_rate == 0.001
    assert (type(config.optimizer.weight_decay), type(config.trainer.gradient_clip_norm)) == (float, float)


def test_augmentation_is_chosen_as_a_group_of_its_own() -> None:
    chosen = compose(["data/augmentation=flips", "data.augmentation.rotation=10"]).data.augmentation
    assert chosen == Augmentation(horizontal_flip=True, vertical_flip=True, rotate90=True, rotation=10.0)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_to_its_own_schema_and_survives_being_stored(group: str, option: str) -> None:
    config = compose([f"{group}={option}", *ROOT.get(option, [])])
    assert type(getattr(config, group)) is GROUPS[group][option]
    assert parse(to_dict(config)) == config


def values(kind: Any, allowed: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type inside the range that its metadata allows."""
    if get_origin(kind) in (Union, types.UnionType):
        return st.none() | values(next(part for part in get_args(kind) if part is not type(None)), allowed)
    if get_origin(kind) is list:
        length = allowed.get("length", (0, None))
        low, high = length if isinstance(length, tuple) else (length, length)
        each = {key: value for key, value in allowed.items() if key != "length"}
        return st.lists(values(get_args(kind)[0], each), min_size=low, max_size=high or 4)
    if "pattern" in allowed:
        return st.from_regex(allowed["pattern"], fullmatch=True, alphabet="0123456789alnoebst:")
    if "choices" in allowed:
        return st.sampled_from(allowed["choices"])
    if is_dataclass(kind):
        return instances(kind)  # type: ignore[arg-type]
    if kind is float:
        low, high = (next((allowed[key] for key in keys if key in allowed), None) for keys in BOUNDS)
        return st.floats(
            low,
            high,
            exclude_min="above" in allowed,
            exclude_max="below" in allowed,
            allow_nan=False,
            allow_infinity=False,
        )
    whole = st.integers(allowed.get("at_least", -9), allowed.get("at_least", 0) + 9)
    text = st.text("ab c_-/.~é7", min_size=1)
    return {bool: st.booleans(), int: whole, str: text, Any: text}[kind]


BOUNDS = (("at_least", "above"), ("at_most", "below"))
TOGETHER: dict[str, st.SearchStrategy[Any]] = {  # what two settings say of each other has tests of its own
    "image_size": st.integers(64, 1024),
    "valid_fraction": st.just(0.25),
    "test_fraction": st.floats(0.0, 0.5),
    "nesterov": st.just(False),
}


def instances(schema: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(schema)
    drawn = {item.name: TOGETHER.get(item.name, values(hints[item.name], item.metadata)) for item in fields(schema)}
    if schema.__name__ == "TorchvisionModel":
        drawn["name"] = st.sampled_from(["mobilenet_v2", "vit_b_16"])
    return st.builds(schema, **drawn)


configurations = st.builds(
    Config,
    seed=st.integers(0, 2**40),
    **{group: st.one_of(*map(instances, options.values())) for group, options in GROUPS.items()},
)


@settings(max_examples=120, deadline=None)
@given(configurations)
def test_a_configuration_read_back_from_its_stored_form_is_the_same(config: Config) -> None:
    assert parse(to_dict(config)) == config


# --- conf/ and the schema say the same ----------------------------------------------------------------


def stated(file: Path) -> dict[str, Any]:
    """What a YAML file states itself, as OmegaConf reads it."""
    tree = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items() if key != "defaults"}


def defaults(schema: type) -> dict[str, Any]:
    default = schema()
    return {item.name: getattr(default, item.name) for item in fields(schema)}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_setting_stands_in_its_yaml_file_with_the_default_of_the_schema(group: str, option: str) -> None:
    expected = defaults(GROUPS[group][option])
    expected.pop("augmentation", None)  # a group of its own
    expected = {key: value for key, value in expected.items() if key not in TRACKERS}  # a file each
    assert stated(CONF / group / f"{option}.yaml") == expected


def test_every_augmentation_file_states_every_setting_and_none_is_the_default() -> None:
    files = {file.stem: stated(file) for file in (CONF / "data" / "augmentation").glob("*.yaml")}
    assert files["none"] == defaults(Augmentation)
    assert {frozenset(file) for file in files.values()} == {frozenset(defaults(Augmentation))}


@pytest.mark.parametrize("group", GROUPS)
def test_every_yaml_file_of_a_group_has_a_schema(group: str) -> None:
    more = set(TRACKERS) if group == "tracker" else set()
    assert {file.stem for file in (CONF / group).glob("*.yaml")} == set(GROUPS[group]) | more


@pytest.mark.parametrize("tracker", TRACKERS)
def test_every_tracker_states_its_settings_and_several_go_together(tracker: str) -> None:
    assert stated(CONF / "tracker" / f"{tracker}.yaml") == {tracker: defaults(TRACKERS[tracker])}
    assert compose([f"tracker={tracker}"]).tracker == Tracker(**{tracker: TRACKERS[tracker]()})
    both = compose(["tracker=[tensorboard,mlflow]", "tracker.mlflow.uri=http://there"]).tracker
    assert both == Tracker(TensorBoard(), MLflow("http://there"))


def test_a_configuration_of_before_there_were_trackers_is_read() -> None:
    tree = to_dict(compose([]))
    assert parse({**tree, "tracker": {"name": "none"}}) == parse(tree)


@pytest.mark.parametrize(
    ("override", "message"),
    [("tracker.mlflow.uri=x", "it belongs to tracker=mlflow"), ("tracker.mlflow.urn=x", "did you mean uri")],
)
def test_a_setting_of_a_tracker_that_was_not_chosen_is_told(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose([override])


def test_the_primary_file_states_the_seed() -> None:
    assert stated(CONF / "config.yaml") == defaults(Seeded)


# --- a network of one's own ---------------------------------------------------------------------------

NETWORK = """
from __future__ import annotations
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int, slope: float = 0.1, scale: float | None = None, depth: int = 2) -> None:
        super().__init__()

class Open(nn.Module):
    def __init__(self, **settings) -> None:
        super().__init__()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Configurations whose model is a class of a module that the user wrote."""
    module = f"networks_of_{tmp_path.name}"  # not yet imported by another test
    (tmp_path / f"{module}.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    base = to_dict(Config(**{group: next(iter(options.values()))() for group, options in GROUPS.items()}))

    def configure(target: str = "Net", **arguments: Any) -> dict[str, Any]:
        path = target if "." in target else f"{module}.{target}"
        return base | {"model": {"name": "mine", "_target_": path, **arguments}}

    return configure


def own_refusal(tree: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse(tree)
    return str(caught.value)


def test_a_network_of_ones_own_takes_its_arguments_and_the_settings_of_every_network(
    own: Callable[..., dict[str, Any]],
) -> None:
    model = parse(own(width=8, linear_features=16)).model
    assert isinstance(model, UserModel)
    assert (model.name, model.linear_features, model.arguments) == ("mine", 16, {"width": 8})


def test_a_network_of_ones_own_survives_being_stored(own: Callable[..., dict[str, Any]]) -> None:
    config = parse(own(width=8, slope=1, input_mean=[0, 0, 0]))
    assert parse(to_dict(config)) == config


def test_an_argument_that_the_class_does_not_take_is_refused(own: Callable[..., dict[str, Any]]) -> None:
    message = own_refusal(own(width=8, slop=1))
    assert message.startswith("model.slop: networks_of_")
    assert message.endswith("Net takes no such argument; did you mean slope?")


def test_a_class_of_any_keywords_takes_any_argument(own: Callable[..., dict[str, Any]]) -> None:
    model = parse(own("Open", anything=1)).model
    assert isinstance(model, UserModel)
    assert model.arguments == {"anything": 1}


def test_an_argument_that_the_class_needs_is_asked_for(own: Callable[..., dict[str, Any]]) -> None:
    message = own_refusal(own())
    assert message.startswith("model.width: missing")
    assert message.endswith("as in +model.width=VALUE")


@pytest.mark.parametrize("target", ["no_such_package.Net", "crackdet.NoSuchNet", ".Net"])
def test_a_class_that_cannot_be_imported_is_refused(own: Callable[..., dict[str, Any]], target: str) -> None:
    message = own_refusal(own(target))
    assert message.startswith(f"model._target_={target}: cannot be imported")
    assert "package.module.Class" in message


def test_a_target_that_cannot_be_called_is_refused(own: Callable[..., dict[str, Any]]) -> None:
    assert "must be a class, or a function that makes a network" in own_refusal(own("torch.nn"))


@pytest.mark.parametrize(("value", "shown"), [(float("inf"), "inf"), ([0.5, float("nan")], "[0.5,nan]")])
def test_an_argument_that_is_no_number_is_refused(
    own: Callable[..., dict[str, Any]], value: object, shown: str
) -> None:
    assert own_refusal(own(width=8, slope=value)) == f"model.slope={shown}: must be a finite number"


def test_settings_of_every_network_are_checked_beside_ones_own(own: Callable[..., dict[str, Any]]) -> None:
    message = own_refusal(own(width=8, linear_features=0))
    assert message == "model.linear_features=0: must be a whole number at least 1"


def test_a_network_of_ones_own_needs_a_name(own: Callable[..., dict[str, Any]]) -> None:
    assert own_refusal(own(width=8, name=None)).startswith("model.name: missing")


def test_a_whole_number_for_a_float_parameter_becomes_a_float(own: Callable[..., dict[str, Any]]) -> None:
    model = parse(own(width=8, slope=1, scale=2, depth=3)).model
    assert isinstance(model, UserModel)
    assert {key: type(value) for key, value in model.arguments.items()} == {
        "width": int,
        "slope": float,
        "scale": float,
        "depth": int,
    }


def test_a_network_of_ones_own_is_chosen_by_a_file_of_ones_own(
    own: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    register()
    tree = own(width=8)["model"]
    (tmp_path / "conf" / "model").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(tree), tmp_path / "conf" / "model" / "mine.yaml")
    config = compose([f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "model=mine", "model.width=16"])
    assert isinstance(config.model, UserModel)
    assert config.model.arguments == {"width": 16}
