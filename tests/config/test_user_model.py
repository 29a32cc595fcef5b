"""A user's network: `model._target_`, its arguments and its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from crackdet.config.composing import compose
from crackdet.config.groups import GROUPS, register
from crackdet.config.parsing import parse
from crackdet.config.schema import Config, UserModel, to_dict
from crackdet.core.errors import UserError

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
def user_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A function that returns a configuration whose model is a class in a module of the user."""
    module = f"networks_of_{tmp_path.name}"  # a new name, because other tests leave their modules imported
    (tmp_path / f"{module}.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    base = to_dict(Config(**{group: next(iter(options.values()))() for group, options in GROUPS.items()}))

    def configure(target: str = "Net", **arguments: Any) -> dict[str, Any]:
        path = target if "." in target else f"{module}.{target}"
        return base | {"model": {"name": "mine", "_target_": path, **arguments}}

    return configure


def parse_error(tree: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse(tree)
    return str(caught.value)


def test_a_user_network_accepts_its_arguments_and_the_settings_of_every_network(
    user_config: Callable[..., dict[str, Any]],
) -> None:
    model = parse(user_config(width=8, linear_features=16)).model
    assert isinstance(model, UserModel)
    assert (model.name, model.linear_features, model.arguments) == ("mine", 16, {"width": 8})


def test_a_user_network_survives_storage(user_config: Callable[..., dict[str, Any]]) -> None:
    config = parse(user_config(width=8, slope=1, input_mean=[0, 0, 0]))
    assert parse(to_dict(config)) == config


def test_an_argument_that_the_class_does_not_have_is_refused(user_config: Callable[..., dict[str, Any]]) -> None:
    message = parse_error(user_config(width=8, slop=1))
    assert message.startswith("model.slop: networks_of_")
    assert message.endswith("Net has no such argument; did you mean slope?")


def test_a_class_with_open_keywords_accepts_any_argument(user_config: Callable[..., dict[str, Any]]) -> None:
    model = parse(user_config("Open", anything=1)).model
    assert isinstance(model, UserModel)
    assert model.arguments == {"anything": 1}


def test_a_missing_required_argument_is_refused(user_config: Callable[..., dict[str, Any]]) -> None:
    message = parse_error(user_config())
    assert message.startswith("model.width: missing")
    assert message.endswith("as in +model.width=VALUE")


@pytest.mark.parametrize("target", ["no_such_package.Net", "crackdet.NoSuchNet", ".Net"])
def test_a_class_that_cannot_be_imported_is_refused(user_config: Callable[..., dict[str, Any]], target: str) -> None:
    message = parse_error(user_config(target))
    assert message.startswith(f"model._target_={target}: cannot be imported")
    assert "package.module.Class" in message


def test_a_target_that_cannot_be_called_is_refused(user_config: Callable[..., dict[str, Any]]) -> None:
    assert "must be a class, or a function that returns a network" in parse_error(user_config("torch.nn"))


@pytest.mark.parametrize(("value", "shown"), [(float("inf"), "inf"), ([0.5, float("nan")], "[0.5,nan]")])
def test_an_argument_that_is_not_finite_is_refused(
    user_config: Callable[..., dict[str, Any]], value: object, shown: str
) -> None:
    assert parse_error(user_config(width=8, slope=value)) == f"model.slope={shown}: must be a finite number"


def test_the_settings_of_every_network_are_checked_for_a_user_network(
    user_config: Callable[..., dict[str, Any]],
) -> None:
    message = parse_error(user_config(width=8, linear_features=0))
    assert message == "model.linear_features=0: must be an integer >= 1"


def test_a_user_network_needs_a_name(user_config: Callable[..., dict[str, Any]]) -> None:
    assert parse_error(user_config(width=8, name=None)).startswith("model.name: missing")


def test_an_integer_for_a_float_parameter_becomes_a_float(user_config: Callable[..., dict[str, Any]]) -> None:
    model = parse(user_config(width=8, slope=1, scale=2, depth=3)).model
    assert isinstance(model, UserModel)
    assert {key: type(value) for key, value in model.arguments.items()} == {
        "width": int,
        "slope": float,
        "scale": float,
        "depth": int,
    }


def test_a_user_network_can_be_an_option_in_a_file_of_the_user(
    user_config: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    register()
    tree = user_config(width=8)["model"]
    (tmp_path / "conf" / "model").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(tree), tmp_path / "conf" / "model" / "mine.yaml")
    config = compose([f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "model=mine", "model.width=16"])
    assert isinstance(config.model, UserModel)
    assert config.model.arguments == {"width": 16}
