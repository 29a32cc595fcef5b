"""The layers of a feature extractor; tests/training/test_against_timm.py compares them with timm's."""

from functools import partial
from itertools import chain

import pytest
import torch
import torchvision
from torch import nn

from crackdet.models.classifier import stages
from crackdet.models.custom import CustomFeatures
from crackdet.models.layers import parameter_layers, stage_layers
from crackdet.models.stage import Stage
from crackdet.models.torchvision import TorchvisionArchitecture

BLOCKS = {  # the stem, and the blocks of the paper
    "resnet18": 1 + 8,
    "mobilenet_v2": 1 + 17 + 1,
    "vit_b_16": 1 + 12,
    "densenet121": 1 + 58 + 3,  # its transitions
    "regnet_y_400mf": 1 + 16,
}


def torchvision_features(name: str) -> nn.Module:
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # its constructor reads values of tensors
        network = torchvision.models.get_model(name)
    return TorchvisionArchitecture(name).feature_extractor(network)


@pytest.mark.parametrize("name", [*BLOCKS, "convnext_tiny", "vgg11", "mnasnet0_5", "swin_t"])
def test_each_parameter_is_in_one_layer_and_each_block_is_one(name: str) -> None:
    network = torchvision_features(name)
    layers = parameter_layers(network)
    assert sorted(chain.from_iterable(layers)) == sorted(parameter for parameter, _ in network.named_parameters())
    assert len(layers) == BLOCKS.get(name, len(layers)) >= 8


def test_single_parameters_belong_to_the_first_layer_and_normalization_to_the_one_before() -> None:
    layers = parameter_layers(torchvision_features("vit_b_16"))
    assert {"class_token", "encoder.pos_embedding", "conv_proj.weight"} <= set(layers[0])
    assert "encoder.ln.weight" in layers[-1]
    assert "bn1.weight" in parameter_layers(torchvision_features("resnet18"))[0]


def test_a_convolution_of_the_custom_network_is_a_layer_and_a_stage() -> None:
    network = CustomFeatures([4, 8, 8])
    layers = parameter_layers(network)
    assert layers == [[f"{index}.weight", f"{index}.bias"] for index in (0, 3, 6)]
    assert stage_layers(layers, stages(network, 32), network) == [[layer] for layer in layers]


def test_stages_are_the_resolutions_of_a_convolutional_network() -> None:
    network = TorchvisionArchitecture("resnet18").feature_extractor(torchvision.models.resnet18())
    parts = stage_layers(parameter_layers(network), stages(network, 64), network)
    tops = [part[-1][-1].split(".")[0] for part in parts]
    assert tops == ["bn1", "layer1", "layer2", "layer3", "layer4"]


def test_a_network_of_one_resolution_is_divided_into_four_stages_of_equally_many_layers() -> None:
    network = nn.Sequential(*map(partial(nn.Linear, 3), (3,) * 12))
    parts = stage_layers(parameter_layers(network), [Stage("0", 3, 16)], network)
    assert [len(part) for part in parts] == [3, 3, 3, 3]


def test_a_network_without_parameters_has_no_layers() -> None:
    assert parameter_layers(nn.Sequential(nn.Flatten())) == []
    assert stage_layers([], [], nn.Flatten()) == []
