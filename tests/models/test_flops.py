"""A pass for shapes and operations: what torch finds, and without its compiler."""

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torchvision.models
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crackdet.models.flops import MetaFlopCounter

Found = tuple[torch.Size, tuple[int, ...], torch.dtype]


def found(network: nn.Module, images: Tensor, mode: AbstractContextManager[object]) -> Found | str:
    """What a network gives on the meta device, or how it is refused."""
    try:
        with mode:
            output = network.to("meta")(images.to("meta"))
    except RuntimeError as error:
        return type(error).__name__
    return output.shape, output.stride(), output.dtype


def assert_alike(network: nn.Module, images: Tensor) -> None:
    usual = FlopCounterMode(display=False)
    mine = MetaFlopCounter()
    assert found(network, images, mine) == found(network, images, usual)
    assert mine.flops == usual.get_total_flops()


sides, small = st.integers(1, 12), st.integers(1, 4)


@given(st.data(), sides, sides, st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=60)
def test_convolutions_are_those_of_torch(data: st.DataObject, height: int, width: int, dtype: torch.dtype) -> None:
    groups = data.draw(small)
    layer = data.draw(st.sampled_from([nn.Conv2d, nn.ConvTranspose2d]))(
        groups * data.draw(small), groups * data.draw(small), (data.draw(small), data.draw(small)),
        stride=(data.draw(small), data.draw(small)), padding=data.draw(st.integers(0, 3)),
        dilation=data.draw(small), groups=groups, bias=data.draw(st.booleans()), dtype=dtype,
    )  # fmt: skip
    channels = layer.in_channels + data.draw(st.sampled_from([0, 0, 0, 1]))
    images = torch.empty(2, channels, height, width, dtype=dtype)
    if data.draw(st.booleans()):
        images = images.to(memory_format=torch.channels_last)
    assert_alike(layer, images if data.draw(st.booleans()) else images[0])


@given(st.data(), sides, sides)
@settings(deadline=None, max_examples=40)
def test_poolings_are_those_of_torch(data: st.DataObject, height: int, width: int) -> None:
    layer = nn.MaxPool2d(
        data.draw(small), data.draw(st.none() | small), padding=data.draw(st.integers(0, 2)),
        dilation=data.draw(small), ceil_mode=data.draw(st.booleans()), return_indices=False,
    )  # fmt: skip
    assert_alike(nn.Sequential(layer, nn.ReLU()), torch.empty(2, 3, height, width))


def test_where_a_maximum_was_is_a_whole_number() -> None:
    with MetaFlopCounter():
        _, places = nn.MaxPool2d(2, return_indices=True)(torch.empty(1, 1, 4, 4, device="meta"))
    assert places.dtype == torch.int64 and places.shape == (1, 1, 2, 2)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "vit_b_16", "swin_t"])
def test_whole_networks_are_those_of_torch(name: str) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None).eval()
    with torch.no_grad():
        assert_alike(network, torch.empty(2, 3, 224, 224))


def test_autograd_keeps_the_same_tensors() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 1)
    )
    network.to("meta")
    assert kept(network, MetaFlopCounter()) == kept(network, nullcontext())


def kept(network: nn.Module, mode: AbstractContextManager[object]) -> list[tuple[torch.Size, torch.dtype]]:
    tensors: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    with mode, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.empty(2, 3, 8, 8, device="meta"))
    return [(tensor.shape, tensor.dtype) for tensor in tensors]
