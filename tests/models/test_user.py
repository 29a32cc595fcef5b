"""A user's own network as feature extractor, and the errors in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, to_dict
from crackdet.core.errors import UserError
from crackdet.models.factory import build, validate_model
from tests.composing import compose

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int, rates: int = 3) -> None:
        super().__init__()
        self.rates = [float(rate) for rate in torch.linspace(0, 1, rates)]
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, images):
        return self.layers(images)

class Named(Net):
    def forward(self, images):
        return {"out": self.layers(images)}

class Mixed(Net):
    def forward(self, images):
        return self.layers(images).mean(0)

def nothing():
    return None

def unlucky():
    raise RuntimeError("no such architecture")
"""


@pytest.fixture
def user_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    module = f"networks_of_{tmp_path.name}"  # a name that no other test has imported
    (tmp_path / f"{module}.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    stored = to_dict(compose(["data.image_size=32"]))

    def configure(target: str, **arguments: Any) -> Config:
        return parse(stored | {"model": {"name": "mine", "_target_": f"{module}.{target}", **arguments}})

    return configure


def test_a_users_network_becomes_the_feature_extractor(user_config: Callable[..., Config]) -> None:
    model = build(user_config("Net", width=6))
    assert type(model.feature_extractor).__name__ == "Net"
    assert model.feature_dimension == 6
    assert model(torch.rand(4, 3, 32, 32)).shape == (4,)


def test_a_target_that_returns_no_module_is_an_error(user_config: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=r"nothing: must return a torch\.nn\.Module, not NoneType$"):
        build(user_config("nothing"))


@pytest.mark.parametrize(
    ("target", "arguments", "reason"),
    [("Net", {"width": -1}, "negative dimension"), ("unlucky", {}, "no such architecture")],
)
def test_the_error_of_a_users_constructor_is_reported(
    user_config: Callable[..., Config], target: str, arguments: dict[str, int], reason: str
) -> None:
    with pytest.raises(UserError, match=rf"^model\._target_=\S+{target}: fails with arguments .*{reason}"):
        validate_model(user_config(target, **arguments))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("Named", "forward must return a tensor of features, not dict"),
        ("Mixed", r"forward must return features for each image, not shape \[6, 1, 1\] for 2 images"),
    ],
)
def test_a_forward_that_returns_no_features_is_an_error(
    user_config: Callable[..., Config], target: str, reason: str
) -> None:
    with pytest.raises(UserError, match=rf"^model\.name=mine: {reason}"):
        validate_model(user_config(target, width=6))


def test_published_weights_of_a_users_network_are_an_error(user_config: Callable[..., Config]) -> None:
    message = r"^model\.weights=DEFAULT: must be a \.pth or \.safetensors file, or null; mine has no published weights$"
    with pytest.raises(UserError, match=message):
        validate_model(user_config("Net", width=6, weights="DEFAULT"))
