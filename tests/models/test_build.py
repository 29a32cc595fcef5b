"""Classifiers that a configuration builds: sizes, layers, initial weights, trained and frozen parts."""

from collections.abc import Callable

import pytest
import torch
import torchvision.models
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.models.classifier import Classifier
from crackdet.models.factory import build, depthwise_share, feature_flops, validate_initial_weights, validate_model
from crackdet.models.torchvision import TorchvisionArchitecture
from tests.composing import compose

FOLDER = ("data=folder", "data.root=.")  # synthetic images have at least 24 pixels
SMALL = ("model.conv_out=[4,8]", "model.linear_features=16", "data.image_size=32")
SHUFFLENET = ("model=torchvision", "model.name=shufflenet_v2_x0_5", "model.weights=null", "model.linear_features=8")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def build_from(*overrides: str) -> Classifier:
    return build(compose(overrides))


def error_message(action: Callable[[Config], object], *overrides: str) -> str:
    config = compose(overrides)
    with pytest.raises(UserError) as caught:
        action(config)
    return str(caught.value)


def have_equal_weights(one: nn.Module, other: nn.Module) -> bool:
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
def test_the_articles_networks_have_the_articles_numbers_of_parameters(overrides: list[str], parameters: int) -> None:
    config = compose([*overrides, "data.image_size=224"])
    with torch.device("meta"):  # the widest network would need 1.6 GB
        assert build(config).num_parameters == parameters


@settings(max_examples=10, deadline=None)
@given(
    conv_out=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    linear_features=st.integers(1, 9),
    image_size=st.integers(24, 41),
)
def test_the_custom_network_computes_exactly_the_articles_outputs(
    conv_out: list[int], linear_features: int, image_size: int
) -> None:
    model = build_from(
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
        for ours, reference in zip(model.parameters(), article.parameters(), strict=True):
            reference.copy_(ours)
        images = 100 * torch.randn(3, 3, image_size, image_size)  # far from zero, of either sign
        assert torch.equal(model(images), article(images).squeeze(1))


def test_resnext50_keeps_its_thousand_outputs_as_features(images: Tensor) -> None:
    model = build_from("model=resnext50", "model.weights=null", "data.image_size=32").eval()
    reference = torchvision.models.resnext50_32x4d()
    reference.load_state_dict(model.feature_extractor.state_dict())
    with torch.no_grad():
        assert model.feature_dimension == 1000
        assert torch.equal(model.features(images), reference.eval()(images))


def test_other_torchvision_networks_lose_their_last_layer(images: Tensor) -> None:
    model = build_from(*SHUFFLENET, "data.image_size=32").eval()
    reference = torchvision.models.shufflenet_v2_x0_5()
    reference.fc = nn.Identity()
    reference.load_state_dict(model.feature_extractor.state_dict())
    with torch.no_grad():
        assert torch.equal(model.features(images), reference.eval()(images))


def test_there_is_one_logit_per_image(images: Tensor) -> None:
    assert build_from(*SMALL)(images).shape == (4,)
    assert build_from(*SMALL)(images[:1]).shape == (1,)


# --- configurations that cannot be built -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", [validate_model, build])
def test_the_error_for_an_unsupported_image_size_lists_supported_sizes(action: Callable[[Config], object]) -> None:
    message = error_message(
        action, "model=torchvision", "model.name=vit_b_16", "model.weights=null", "data.image_size=64"
    )
    assert message == "data.image_size=64: vit_b_16 does not accept images of this size; it accepts 224"


@pytest.mark.parametrize(("name", "smallest"), [("alexnet", 63), ("squeezenet1_0", 21), ("vgg11", 32)])
def test_the_error_for_images_that_are_too_small_names_the_smallest_size_that_works(name: str, smallest: int) -> None:
    def network(size: int) -> tuple[str, ...]:
        return "model=torchvision", f"model.name={name}", "model.weights=null", f"data.image_size={size}", *FOLDER

    message = error_message(validate_model, *network(size=16))
    assert message.startswith(f"data.image_size=16: must be at least {smallest} for {name}; it accepts ")
    assert f"at least {smallest}" in error_message(validate_model, *network(size=smallest - 1))
    features = torchvision.models.get_model(name, weights=None).features
    assert features(torch.zeros(1, 3, smallest, smallest)).numel()  # torchvision agrees
    with pytest.raises(RuntimeError):
        features(torch.zeros(1, 3, smallest - 1, smallest - 1))


def test_an_image_size_that_is_too_small_is_an_error() -> None:
    message = error_message(
        validate_model, "model=torchvision", "model.name=inception_v3", "model.weights=null", "data.image_size=64"
    )
    assert "must be at least 75" in message and "it accepts 96, 128, 160" in message


def test_the_error_for_an_unknown_network_suggests_a_similar_name() -> None:
    message = error_message(validate_model, "model=torchvision", "model.name=mobilnet_v2")
    assert message.startswith("model.name=mobilnet_v2: torchvision has no such classification network")
    assert message.endswith("did you mean mobilenet_v2?")


def test_a_torchvision_network_for_another_task_is_an_error() -> None:
    message = error_message(validate_model, "model=torchvision", "model.name=fcn_resnet50")
    assert "no such classification network" in message


def test_a_torchvision_network_without_the_layer_that_is_removed_is_an_error() -> None:
    network = torchvision.models.resnet18(num_classes=10)
    with pytest.raises(UserError, match=r"model\.name=resnet18: this network has no last layer with 1000 outputs"):
        TorchvisionArchitecture("resnet18").feature_extractor(network)


# --- initial weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [SMALL, (*SHUFFLENET, "data.image_size=32")])
def test_the_seed_determines_the_initial_weights(overrides: tuple[str, ...]) -> None:
    first = build_from(*overrides, "seed=1")
    torch.rand(7)  # other use of the generator
    assert have_equal_weights(first, build_from(*overrides, "seed=1"))
    assert not have_equal_weights(first, build_from(*overrides, "seed=2"))


def test_counting_flops_leaves_the_random_state_unchanged() -> None:
    for overrides in (SMALL, ("model=torchvision", "model.name=regnet_y_400mf", "model.weights=null")):
        state = torch.get_rng_state()
        feature_flops(compose(overrides))
        validate_model(compose(overrides))
        assert torch.equal(torch.get_rng_state(), state)


def test_feature_flops_are_those_of_the_convolutions() -> None:
    config = compose(["model.conv_out=[4,8]", "data.image_size=32"])
    first, second = (
        32 * 32 * 4 * 3 * 9,
        16 * 16 * 8 * 4 * 9,
    )  # multiplications: pixels, channels, kernel
    assert feature_flops(config) == 2 * (first + second)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_the_depthwise_share_is_that_of_multiplications_in_depthwise_convolutions(name: str) -> None:
    config = compose(["model=torchvision", f"model.name={name}", "model.weights=null", "data.image_size=64"])
    extractor = build(config).feature_extractor.eval()
    operations = {True: 0, False: 0}  # by whether the convolution is depthwise

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        each = weight.numel() // weight.shape[0]  # multiplications per output value
        operations[weight.ndim == 4 and weight.shape[1] == 1 and inputs[0].shape[1] > 1] += output.numel() * each

    for module in extractor.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    extractor(torch.zeros(1, 3, 64, 64))
    share = operations[True] / sum(operations.values())
    assert depthwise_share(config) == pytest.approx(share, rel=1e-6)


# --- normalisation -------------------------------------------------------------------------------------------


def test_pixels_are_normalised_by_input_mean_and_input_std(images: Tensor) -> None:
    plain, normalising = (
        build_from(*SMALL),
        build_from(*SMALL, "model.input_mean=[0.1,0.2,0.3]", "model.input_std=[1,2,4]"),
    )
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(normalising(images), plain((images - mean) / std), atol=1e-6)
        assert not torch.allclose(normalising(images), plain(images), atol=1e-4)


# --- what is trained ----------------------------------------------------------------------------------


def changed_by_training(model: Classifier, images: Tensor) -> set[str]:
    """Return the kinds of tensors that one training step changes: parameters of either part, running statistics."""
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
def test_training_changes_only_unfrozen_parts(overrides: list[str], changed: set[str], images: Tensor) -> None:
    model = build_from(*SHUFFLENET, "data.image_size=32", *overrides)
    assert changed_by_training(model, images) == changed


def test_frozen_features_are_the_same_in_training_and_evaluation_mode(images: Tensor) -> None:
    model = build_from(*SHUFFLENET, "data.image_size=32", "model.freeze_features=true")
    with torch.no_grad():
        assert torch.equal(model.train().features(images), model.eval().features(images))


# --- batches of one image -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "is_refused"),
    [
        (["trainer.batch_size=1"], True),
        (["trainer.batch_size=2"], False),
        (["trainer.batch_size=1", "data.image_size=64"], False),  # maps of 2x2 have a variance
        (["trainer.batch_size=1", "model.batchnorm=eval"], False),
        (["trainer.batch_size=1", "model.freeze_features=true"], False),
    ],
)
def test_batch_normalization_of_one_value_is_refused_and_else_trains(overrides: list[str], is_refused: bool) -> None:
    config = compose([*SHUFFLENET, "data.image_size=32", *overrides])
    if is_refused:
        with pytest.raises(UserError, match=r"trainer\.batch_size=1: .*set trainer\.batch_size to 2 or more"):
            validate_initial_weights(config)
        return
    validate_initial_weights(config)
    size = config.data.image_size
    assert build(config)(torch.rand(config.trainer.batch_size, 3, size, size)).isfinite().all()
