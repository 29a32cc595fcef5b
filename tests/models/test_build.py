"""Networks as a configuration describes them: sizes, layers, initial weights, what is trained and what is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from crackdet.config.composing import compose
from crackdet.config.parsing import parse
from crackdet.config.schema import Config, to_dict
from crackdet.core.errors import UserError
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build, check, feature_flops

SMALL = ("model.conv_out=[4,8]", "model.linear_features=16", "data.image_size=32")
SHUFFLENET = ("model=torchvision", "model.name=shufflenet_v2_x0_5", "model.weights=null", "model.linear_features=8")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def built(*overrides: str) -> Classifier:
    return build(compose(overrides))


def refusal(action: Callable[[Config], object], *overrides: str) -> str:
    config = compose(overrides)
    with pytest.raises(UserError) as caught:
        action(config)
    return str(caught.value)


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# --- the article's networks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        (["model.conv_out=[64,128]", "model.linear_features=512"], 205_860_225),
        (["model.conv_out=[64,128]", "model.linear_features=1024"], 412_169_089),
        (["model=resnext50", "model.weights=null"], 25_804_585),
    ],
)
def test_the_articles_networks_have_as_many_parameters_as_the_article_says(
    overrides: list[str], parameters: int
) -> None:
    config = compose([*overrides, "data.image_size=224"])
    with torch.device("meta"):  # without memory: the widest would take 1.6 GB
        assert build(config).num_parameters == parameters


@settings(max_examples=10, deadline=None)
@given(
    conv_out=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    linear_features=st.integers(1, 9),
    image_size=st.integers(24, 41),
)
def test_the_custom_network_computes_what_the_articles_does_to_the_bit(
    conv_out: list[int], linear_features: int, image_size: int
) -> None:
    model = built(
        f"model.conv_out={conv_out}", f"model.linear_features={linear_features}", f"data.image_size={image_size}"
    )
    layers: list[nn.Module] = []
    for in_channels, out_channels in zip([3, *conv_out], conv_out, strict=False):
        layers += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    features = conv_out[-1] * (image_size // 2 ** len(conv_out)) ** 2
    article = nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(features, linear_features),
        nn.ReLU(),
        nn.Linear(linear_features, linear_features),
        nn.ReLU(),
        nn.Linear(linear_features, 1),
    )
    with torch.no_grad():
        for own, reference in zip(model.parameters(), article.parameters(), strict=True):
            reference.copy_(own)
        pictures = 100 * torch.randn(3, 3, image_size, image_size)  # far from zero, on both sides
        assert torch.equal(model(pictures), article(pictures).squeeze(1))


def test_resnext50_keeps_its_thousand_outputs_as_features(images: Tensor) -> None:
    model = built("model=resnext50", "model.weights=null", "data.image_size=32").eval()
    reference = torchvision.models.resnext50_32x4d()
    reference.load_state_dict(model.feature_extractor.state_dict())
    with torch.no_grad():
        assert model.feature_dimension == 1000
        assert torch.equal(model.features(images), reference.eval()(images))


def test_another_network_of_torchvision_loses_its_last_layer(images: Tensor) -> None:
    model = built(*SHUFFLENET, "data.image_size=32").eval()
    reference = torchvision.models.shufflenet_v2_x0_5()
    reference.fc = nn.Identity()
    reference.load_state_dict(model.feature_extractor.state_dict())
    with torch.no_grad():
        assert torch.equal(model.features(images), reference.eval()(images))


def test_there_is_one_logit_for_each_image(images: Tensor) -> None:
    assert built(*SMALL)(images).shape == (4,)
    assert built(*SMALL)(images[:1]).shape == (1,)


# --- what cannot be built -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", [check, build])
def test_a_size_that_a_network_cannot_take_is_refused_with_those_it_can(action: Callable[[Config], object]) -> None:
    message = refusal(action, "model=torchvision", "model.name=vit_b_16", "model.weights=null", "data.image_size=64")
    assert message == "data.image_size=64: vit_b_16 cannot take images of that size; it can take 224"


def test_a_size_too_small_for_a_network_is_refused() -> None:
    message = refusal(check, "model=torchvision", "model.name=inception_v3", "model.weights=null", "data.image_size=64")
    assert "it can take 96, 128, 160" in message


def test_an_unknown_network_is_refused_with_the_near_one() -> None:
    message = refusal(check, "model=torchvision", "model.name=mobilnet_v2")
    assert message.startswith("model.name=mobilnet_v2: torchvision has no such classification network")
    assert message.endswith("did you mean mobilenet_v2?")


def test_a_network_of_torchvision_for_something_else_is_refused() -> None:
    assert "no such classification network" in refusal(check, "model=torchvision", "model.name=fcn_resnet50")


# --- initial weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [SMALL, (*SHUFFLENET, "data.image_size=32")])
def test_the_seed_decides_the_initial_weights(overrides: tuple[str, ...]) -> None:
    first = built(*overrides, "seed=1")
    torch.rand(7)  # whatever was drawn in between
    assert same(first, built(*overrides, "seed=1"))
    assert not same(first, built(*overrides, "seed=2"))


def test_asking_what_a_network_costs_draws_no_random_numbers() -> None:
    for overrides in (SMALL, ("model=torchvision", "model.name=regnet_y_400mf", "model.weights=null")):
        state = torch.get_rng_state()
        feature_flops(compose(overrides))
        check(compose(overrides))
        assert torch.equal(torch.get_rng_state(), state)


def test_the_cost_of_a_network_is_that_of_its_convolutions() -> None:
    config = compose(["model.conv_out=[4,8]", "data.image_size=32"])
    first, second = 32 * 32 * 4 * 3 * 9, 16 * 16 * 8 * 4 * 9  # multiplications: pixels, outputs, inputs, kernel
    assert feature_flops(config) == 2 * (first + second)


# --- pixels -------------------------------------------------------------------------------------------


def test_pixels_are_normalised_by_input_mean_and_input_std(images: Tensor) -> None:
    plain, normalising = built(*SMALL), built(*SMALL, "model.input_mean=[0.1,0.2,0.3]", "model.input_std=[1,2,4]")
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(normalising(images), plain((images - mean) / std), atol=1e-6)
        assert not torch.allclose(normalising(images), plain(images), atol=1e-4)


# --- what is trained ----------------------------------------------------------------------------------


def what_training_changes(model: Classifier, images: Tensor) -> set[str]:
    """The kinds of tensors that one training step changes: parameters of both halves, running statistics."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    labels = torch.tensor([0.0, 1.0, 0.0, 1.0])
    binary_cross_entropy_with_logits(model.train()(images), labels).backward()
    optimizer.step()
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    return {"statistics" if ".running_" in name or "num_batches" in name else name.split(".")[0] for name in changed}


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        ([], {"feature_extractor", "classifier", "statistics"}),
        (["model.freeze_features=true"], {"classifier"}),
        (["model.batchnorm=eval"], {"feature_extractor", "classifier"}),
    ],
)
def test_training_changes_what_is_not_frozen(overrides: list[str], changed: set[str], images: Tensor) -> None:
    model = built(*SHUFFLENET, "data.image_size=32", *overrides)
    assert what_training_changes(model, images) == changed


def test_frozen_features_are_those_of_evaluation_while_the_classifier_trains(images: Tensor) -> None:
    model = built(*SHUFFLENET, "data.image_size=32", "model.freeze_features=true")
    with torch.no_grad():
        assert torch.equal(model.train().features(images), model.eval().features(images))


# --- a network of one's own ---------------------------------------------------------------------------

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
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    module = f"networks_of_{tmp_path.name}"  # not yet imported by another test
    (tmp_path / f"{module}.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    stored = to_dict(compose(SMALL))

    def configure(target: str, **arguments: Any) -> Config:
        return parse(stored | {"model": {"name": "mine", "_target_": f"{module}.{target}", **arguments}})

    return configure


def test_a_network_of_ones_own_becomes_the_feature_extractor(own: Callable[..., Config], images: Tensor) -> None:
    model = build(own("Net", width=6))
    assert type(model.feature_extractor).__name__ == "Net"
    assert model.feature_dimension == 6
    assert model(images).shape == (4,)


def test_a_target_that_gives_no_network_is_refused(own: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=r"nothing: must give a torch\.nn\.Module, not NoneType$"):
        build(own("nothing"))


@pytest.mark.parametrize(
    ("target", "arguments", "reason"),
    [("Net", {"width": -1}, "negative dimension"), ("unlucky", {}, "no such architecture")],
)
def test_what_a_network_of_ones_own_raises_is_told(
    own: Callable[..., Config], target: str, arguments: dict[str, int], reason: str
) -> None:
    with pytest.raises(UserError, match=rf"^model: \S+{target} does not take .*{reason}"):
        check(own(target, **arguments))


@pytest.mark.parametrize(
    ("target", "reason"),
    [("Named", "its forward gives dict, not a tensor"), ("Mixed", r"its forward gives \[6, 1, 1\] for 2 images")],
)
def test_what_is_no_features_is_told(own: Callable[..., Config], target: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^model\.name=mine: {reason}"):
        check(own(target, width=6))


def test_published_weights_of_a_network_that_has_none_are_refused(own: Callable[..., Config]) -> None:
    message = r"^model\.weights=DEFAULT: must be a \.pth or \.safetensors file, or null; mine has no published weights$"
    with pytest.raises(UserError, match=message):
        check(own("Net", width=6, weights="DEFAULT"))
