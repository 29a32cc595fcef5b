"""Channels and strides of feature extractors, which a detector needs."""

import pytest
import torch
from torch import Tensor, nn

from crackdet.models.classifier import Classifier
from crackdet.models.factory import build
from tests.composing import compose

# One network of each torchvision family: number of features, and (channels, stride) of its stages by definition.
EXPECTED: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "alexnet": (4096, [(64, 4), (192, 8), (256, 16), (256, 32)]),
    "convnext_tiny": (768, [(96, 4), (192, 8), (384, 16), (768, 32)]),
    "densenet121": (1024, [(64, 2), (256, 4), (512, 8), (1024, 16), (1024, 32)]),
    "efficientnet_b0": (1280, [(16, 2), (24, 4), (40, 8), (112, 16), (1280, 32)]),
    "efficientnet_v2_s": (1280, [(24, 2), (48, 4), (64, 8), (160, 16), (1280, 32)]),
    "googlenet": (1024, [(64, 2), (192, 4), (480, 8), (832, 16), (1024, 32)]),
    "inception_v3": (2048, [(64, 2), (192, 4), (288, 8), (768, 16), (2048, 32)]),
    "maxvit_t": (512, [(64, 2), (64, 4), (128, 8), (256, 16), (512, 32)]),
    "mnasnet0_5": (1280, [(8, 2), (16, 4), (24, 8), (48, 16), (1280, 32)]),
    "mobilenet_v2": (1280, [(16, 2), (24, 4), (32, 8), (96, 16), (1280, 32)]),
    "mobilenet_v3_small": (1024, [(16, 2), (16, 4), (24, 8), (48, 16), (576, 32)]),
    "regnet_x_400mf": (400, [(32, 2), (32, 4), (64, 8), (160, 16), (400, 32)]),
    "regnet_y_400mf": (440, [(32, 2), (48, 4), (104, 8), (208, 16), (440, 32)]),
    "resnet18": (512, [(64, 2), (64, 4), (128, 8), (256, 16), (512, 32)]),
    "shufflenet_v2_x1_0": (1024, [(24, 2), (24, 4), (116, 8), (232, 16), (1024, 32)]),
    "squeezenet1_0": (512, [(96, 2), (256, 4), (512, 8), (512, 16)]),
    "swin_t": (768, [(96, 4), (192, 8), (384, 16), (768, 32)]),
    "swin_v2_t": (768, [(96, 4), (192, 8), (384, 16), (768, 32)]),
    "vgg11": (4096, [(64, 1), (128, 2), (256, 4), (512, 8), (512, 16), (512, 32)]),
    "vit_b_16": (768, [(768, 16)]),
    "wide_resnet50_2": (2048, [(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)]),
}


def build_on_meta(*overrides: str) -> Classifier:
    """Build on the meta device, where a forward pass only computes shapes."""
    config = compose(overrides)
    if "regnet" in config.model.name:  # its constructor reads values of tensors
        return build(config).to("meta")
    with torch.device("meta"):
        return build(config)


def build_torchvision(name: str, image_size: int = 224) -> Classifier:
    return build_on_meta(
        "model=torchvision", f"model.name={name}", "model.weights=null", f"data.image_size={image_size}"
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_torchvision_networks_have_the_expected_features_channels_and_strides(name: str) -> None:
    model = build_torchvision(name)
    found = model.feature_dimension, [(stage.channels, stage.stride) for stage in model.stages()]
    assert found == EXPECTED[name]


def test_resnext50_has_the_stages_of_a_resnet() -> None:
    stages = build_on_meta("model=resnext50", "model.weights=null", "data.image_size=224").stages()
    assert [(stage.name, stage.channels, stage.stride) for stage in stages] == [
        ("relu", 64, 2),
        ("layer1", 256, 4),
        ("layer2", 512, 8),
        ("layer3", 1024, 16),
        ("layer4", 2048, 32),
    ]


@pytest.mark.parametrize("name", ["vgg11", "mobilenet_v2"])
@pytest.mark.parametrize("image_size", [32, 512])
def test_stages_do_not_depend_on_the_image_size(name: str, image_size: int) -> None:
    assert build_torchvision(name, image_size).stages() == build_torchvision(name).stages()


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.conv_out=[3,5,7]",),
        ("model=torchvision", "model.name=mobilenet_v2", "model.weights=null"),
        ("model=torchvision", "model.name=densenet121", "model.weights=null"),
    ],
)
def test_the_module_of_a_stage_outputs_a_map_of_its_channels_and_stride(overrides: tuple[str, ...]) -> None:
    model = build_on_meta(*overrides, "data.image_size=256")
    maps: dict[str, Tensor] = {}

    def record(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _module, _inputs, output: maps.__setitem__(name, output))

    stages = model.stages()
    for stage in stages:
        record(stage.name, model.feature_extractor.get_submodule(stage.name))
    model.eval()(torch.empty(1, 3, 256, 256, device="meta"))
    assert len(stages) >= 3
    for stage in stages:
        assert maps[stage.name].shape == (1, stage.channels, 256 // stage.stride, 256 // stage.stride)


def test_the_custom_network_has_a_stage_per_pooling() -> None:
    stages = build_on_meta("model.conv_out=[3,5,7]", "data.image_size=64").stages()
    assert [(stage.channels, stage.stride) for stage in stages] == [(3, 2), (5, 4), (7, 8)]


@pytest.mark.parametrize("training", [True, False])
def test_stages_leaves_the_network_unchanged(training: bool) -> None:
    config = compose(["model=torchvision", "model.name=shufflenet_v2_x0_5", "model.weights=null", "data.image_size=64"])
    model = build(config).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.stages()
    assert {module.training for module in model.modules()} == {training}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
