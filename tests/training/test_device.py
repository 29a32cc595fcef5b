"""The number format that `auto` selects, and whether a network is compiled."""

import sys
from collections.abc import Callable
from functools import partialmethod

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from crackdet.config.schema import Config
from crackdet.store.integrity import read_result
from crackdet.training.device import resolve_precision, should_compile
from tests.composing import compose
from tests.jobs import train

Configure = Callable[..., Config]
CPU = torch.device("cpu")
MOBILENET = ("model=torchvision", "model.name=mobilenet_v2", "model.weights=null")
RESNET = ("model=torchvision", "model.name=resnet18", "model.weights=null")


@pytest.mark.parametrize(
    ("capabilities", "setting", "overrides", "expected"),
    [
        ({"avx512_bf16": True}, "auto", RESNET, "bf16"),
        ({"amx_bf16": True}, "auto", RESNET, "bf16"),
        ({"avx512_bf16": True}, "auto", MOBILENET, "fp32"),
        ({"avx512_bf16": True}, "bf16", MOBILENET, "bf16"),
        ({"avx512_bf16": True}, "fp32", RESNET, "fp32"),
        ({"avx2": True}, "auto", RESNET, "fp32"),
        ({"avx2": True}, "bf16", RESNET, "bf16"),
    ],
)
def test_auto_precision_depends_on_processor_and_network(
    base_overrides: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capabilities: dict[str, bool],
    setting: str,
    overrides: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    config = compose([*base_overrides, "data.image_size=64", *overrides, f"trainer.precision={setting}"])
    assert resolve_precision(config, CPU) == expected


def test_without_a_compiler_a_network_is_not_compiled(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    result = read_result(train(tiny("trainer.compile=true", "trainer.max_epochs=1")))
    assert result is not None and result["compiled"] is False
    assert "trainer.compile=true is ignored: no C++ compiler found" in caplog.text


def test_every_run_of_a_process_is_compiled(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # any program: the eager backend compiles no C++
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    for width in (4, 5, 6, 7):  # more shapes than torch compiles for one function
        counters.clear()
        run = train(tiny("trainer.compile=true", "trainer.max_epochs=1", f"model.conv_out=[{width},8]"))
        result = read_result(run)
        assert result is not None and result["compiled"] is True
        assert counters["frames"]["ok"] == counters["frames"]["total"] > 0


def test_by_default_a_network_is_not_compiled(tiny: Configure) -> None:
    assert not should_compile(tiny(), CPU)
