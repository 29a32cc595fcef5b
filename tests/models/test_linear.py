import pytest
import torch
from torch import nn

from crackdet.models import linear
from crackdet.models.linear import ChunkedLinear


@pytest.mark.parametrize("width", [1, 7, 64, 100])
@pytest.mark.parametrize("requires_grad", [True, False])
def test_chunked_outputs_and_gradients_equal_those_of_a_linear_layer(
    monkeypatch: pytest.MonkeyPatch, width: int, requires_grad: bool
) -> None:
    monkeypatch.setattr(linear, "MIN_CHUNKED", 0)
    monkeypatch.setattr(linear, "CHUNK", 12 * width)
    torch.manual_seed(0)
    plain, chunked = nn.Linear(100, 12), ChunkedLinear(100, 12)
    chunked.load_state_dict(plain.state_dict())
    results = []
    for layer in (plain, chunked):
        for batches in (3, 2):  # the second gradient reuses the memory of the first
            layer.zero_grad()
            for batch in range(batches):
                generator = torch.Generator().manual_seed(batch)
                images = torch.rand(8, 100, generator=generator).requires_grad_(requires_grad)
                with torch.autocast("cpu", torch.bfloat16):
                    output = layer(images)
                output.float().square().sum().backward()
        results.append((output, layer.weight.grad, layer.bias.grad, *([images.grad] if requires_grad else [])))
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=2**-7, atol=0.05)  # bf16 has 8 bits
    exact = nn.functional.linear(images.double(), plain.weight.double(), plain.bias.double())
    expected_error, error = ((result[0].double() - exact).abs().max() for result in results)
    assert error <= 2 * expected_error


def test_in_fp32_a_chunked_layer_is_a_linear_layer() -> None:
    chunked = ChunkedLinear(linear.MIN_CHUNKED // 4, 4)
    plain = nn.Linear(linear.MIN_CHUNKED // 4, 4)
    plain.load_state_dict(chunked.state_dict())
    images = torch.rand(2, linear.MIN_CHUNKED // 4)
    for layer in (chunked, plain):
        layer(images).sum().backward()
    assert chunked.weight.grad is not None and plain.weight.grad is not None
    assert torch.equal(chunked.weight.grad, plain.weight.grad)
    assert torch.equal(chunked(images), plain(images))


def test_the_input_that_crashes_torch_is_divided() -> None:
    layer, images = ChunkedLinear(65536, 64), torch.zeros(24, 65536)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(images), layer(images[:12]).repeat(2, 1))
