"""The lower bound of a training step."""

import pytest
import torch
from torch import nn

from benchmarks.lower_bound import count_flops


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(nn.Conv2d(64, 64, 3, padding=1), id="dense"),
        pytest.param(nn.Conv2d(64, 64, 3, padding=1, groups=32), id="grouped"),
        pytest.param(nn.ConvTranspose2d(64, 128, 3, stride=2, groups=16), id="transposed"),
    ],
)
def test_the_backward_pass_of_a_convolution_counts_twice_the_flops_of_the_forward_pass(layer: nn.Module) -> None:
    with count_flops() as forward:
        output = layer.to("meta")(torch.empty(2, 64, 16, 16, device="meta", requires_grad=True))
    with count_flops() as backward:
        output.sum().backward()
    assert backward.get_total_flops() == 2 * forward.get_total_flops() > 0
