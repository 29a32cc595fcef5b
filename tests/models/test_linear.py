import pytest
import torch
from torch import nn

from crackdet.models import linear
from crackdet.models.linear import ChunkedLinear


@pytest.mark.parametrize("width", [1, 7, 64, 100])
@pytest.mark.parametrize("wanted", [True, False])
def test_outputs_and_gradients_in_blocks_are_those_of_a_linear_layer(monkeypatch, width, wanted):
    monkeypatch.setattr(linear, "WIDE", 0)
    monkeypatch.setattr(linear, "BLOCK", 12 * width)
    torch.manual_seed(0)
    plain, wide = nn.Linear(100, 12), ChunkedLinear(100, 12)
    wide.load_state_dict(plain.state_dict())
    results = []
    for layer in (plain, wide):
        for batches in (3, 2):  # the second time, the gradient lies where the first lay
            layer.zero_grad()
            for batch in range(batches):
                numbers = torch.Generator().manual_seed(batch)
                images = torch.rand(8, 100, generator=numbers).requires_grad_(wanted)
                with torch.autocast("cpu", torch.bfloat16):
                    output = layer(images)
                output.float().square().sum().backward()
        results.append((output, layer.weight.grad, layer.bias.grad, *([images.grad] if wanted else [])))
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=2**-7, atol=0.05)  # bf16 has 8 bits
    exact = nn.functional.linear(images.double(), plain.weight.double(), plain.bias.double())
    expected_error, error = ((result[0].double() - exact).abs().max() for result in results)
    assert error <= 2 * expected_error


def test_in_fp32_a_wide_layer_is_a_linear_layer():
    wide = ChunkedLinear(linear.WIDE // 4, 4)
    plain = nn.Linear(linear.WIDE // 4, 4)
    plain.load_state_dict(wide.state_dict())
    images = torch.rand(2, linear.WIDE // 4)
    for layer in (wide, plain):
        layer(images).sum().backward()
    assert torch.equal(wide.weight.grad, plain.weight.grad)
    assert torch.equal(wide(images), plain(images))
