"""Output shapes and operations on the meta device equal those that torch computes."""

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torchvision.models
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crackdet.models.flops import MetaFlopCounter

Output = tuple[torch.Size, tuple[int, ...], torch.dtype]


def run_on_meta(network: nn.Module, images: Tensor, mode: AbstractContextManager[object]) -> Output | str:
    """Return the properties of the output on the meta device, or the type of the error."""
    try:
        with mode:
            output = network.to("meta")(images.to("meta"))
    except RuntimeError as error:
        return type(error).__name__
    return output.shape, output.stride(), output.dtype


def assert_same_as_torch(network: nn.Module, images: Tensor) -> None:
    expected = FlopCounterMode(display=False)
    counter = MetaFlopCounter()
    assert run_on_meta(network, images, counter) == run_on_meta(network, images, expected)
    assert counter.flops == expected.get_total_flops()


sides, small = st.integers(1, 12), st.integers(1, 4)


@given(st.data(), sides, sides, st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=60)
def test_convolutions_match_torch(data: st.DataObject, height: int, width: int, dtype: torch.dtype) -> None:
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
    assert_same_as_torch(layer, images if data.draw(st.booleans()) else images[0])


@given(st.data(), sides, sides)
@settings(deadline=None, max_examples=40)
def test_poolings_match_torch(data: st.DataObject, height: int, width: int) -> None:
    layer = nn.MaxPool2d(
        data.draw(small), data.draw(st.none() | small), padding=data.draw(st.integers(0, 2)),
        dilation=data.draw(small), ceil_mode=data.draw(st.booleans()), return_indices=False,
    )  # fmt: skip
    assert_same_as_torch(nn.Sequential(layer, nn.ReLU()), torch.empty(2, 3, height, width))


def test_pooling_indices_are_integers() -> None:
    with MetaFlopCounter():
        _, indices = nn.MaxPool2d(2, return_indices=True)(torch.empty(1, 1, 4, 4, device="meta"))
    assert indices.dtype == torch.int64 and indices.shape == (1, 1, 2, 2)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "vit_b_16", "swin_t"])
def test_full_networks_match_torch(name: str) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None).eval()
    with torch.no_grad():
        assert_same_as_torch(network, torch.empty(2, 3, 224, 224))


def test_autograd_saves_the_same_tensors() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 1)
    )
    network.to("meta")
    assert saved_tensors(network, MetaFlopCounter()) == saved_tensors(network, nullcontext())


def saved_tensors(network: nn.Module, mode: AbstractContextManager[object]) -> list[tuple[torch.Size, torch.dtype]]:
    tensors: list[Tensor] = []

    def save(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    with mode, torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        network(torch.empty(2, 3, 8, 8, device="meta"))
    return [(tensor.shape, tensor.dtype) for tensor in tensors]
