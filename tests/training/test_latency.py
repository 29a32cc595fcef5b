import subprocess
import sys
import time
from collections.abc import Callable
from functools import partialmethod

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from crackdet.config.schema import Config
from crackdet.models import factory
from crackdet.store.integrity import read_result
from crackdet.training.device import compiles, precision_of
from crackdet.training.latency import measure_latency
from tests.conftest import MEASURED
from tests.running.test_train_run import train

Configure = Callable[..., Config]
CPU = torch.device("cpu")
MOBILENET = ("model=torchvision", "model.name=mobilenet_v2", "model.weights=null")
RESNET = ("model=torchvision", "model.name=resnet18", "model.weights=null")


@pytest.fixture
def network(places: list[str]) -> Callable[..., Config]:
    """The configuration of a network of torchvision."""
    from crackdet.config.composing import compose

    return lambda *overrides: compose([*places, "data.image_size=64", *overrides])


def test_a_run_records_what_its_network_costs(tiny: Configure) -> None:
    run = train(tiny())
    result = read_result(run)
    assert result is not None
    for name in set(MEASURED) - {"files"}:
        assert result[name] is None or result[name] > 0
    assert result["weights_mib"] * 2**20 == pytest.approx(run.weights_file.stat().st_size, rel=0.25)  # a tiny file


def test_measuring_changes_neither_the_network_nor_what_is_drawn_next(network: Configure) -> None:
    model = factory.build(network(*MOBILENET))  # with dropout, and statistics that training would change
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.get_rng_state()
    cost = measure_latency(model, 2, "fp32", seconds=0)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert min(vars(cost).values()) > 0


PEAKS = """
import torch
from crackdet.training.memory import PeakMemory, give_back_freed_memory

def hold(number: int) -> float:
    give_back_freed_memory()
    memory = PeakMemory(torch.device("cpu"))
    held = []
    for _ in range(4 if number else 0):
        held = held[-number + 1 :] if number > 1 else []
        held.append(torch.ones(128 * 2**20, dtype=torch.uint8))
    return memory.mib()

print(hold(3), hold(1), hold(0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux counts")
def test_the_peak_is_what_was_held_at_once_and_forgets_what_was_before() -> None:
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, timeout=120, check=True)
    three, one, none = map(float, done.stdout.split())
    assert three == pytest.approx(3 * 128, abs=30) and one == pytest.approx(128, abs=30) and none < 30


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_the_share_of_depthwise_convolutions_is_that_of_their_multiplications(network: Configure, name: str) -> None:
    config = network("model=torchvision", f"model.name={name}", "model.weights=null")
    extractor = factory.build(config).feature_extractor.eval()
    operations = {True: 0, False: 0}

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        each = weight.numel() // weight.shape[0]  # multiplications for one number of the output
        operations[weight.ndim == 4 and weight.shape[1] == 1 and inputs[0].shape[1] > 1] += output.numel() * each

    for module in extractor.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    extractor(torch.zeros(1, 3, 64, 64))
    share = operations[True] / sum(operations.values())
    assert factory.depthwise_share(config) == pytest.approx(share, rel=1e-6)


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
def test_precision_follows_the_processor_and_the_network(
    network: Configure,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: dict[str, bool],
    setting: str,
    overrides: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision_of(network(*overrides, f"trainer.precision={setting}"), CPU) == expected


def test_without_a_compiler_a_network_is_trained_uncompiled(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    result = read_result(train(tiny("trainer.compile=true", "trainer.max_epochs=1")))
    assert result is not None and result["compiled"] is False
    assert "trainer.compile=true is left out: there is no C++ compiler" in caplog.text


def test_every_run_of_a_process_is_compiled(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # any program: this backend compiles nothing to C++
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    for width in (4, 5, 6, 7):  # more shapes than torch takes for one function
        counters.clear()
        run = train(tiny("trainer.compile=true", "trainer.max_epochs=1", f"model.conv_out=[{width},8]"))
        result = read_result(run)
        assert result is not None and result["compiled"] is True
        assert counters["frames"]["ok"] == counters["frames"]["total"] > 0


def test_a_network_is_compiled_only_where_that_is_wished(tiny: Configure) -> None:
    assert not compiles(tiny(), CPU)


def test_a_call_that_had_to_wait_is_not_the_only_one(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = factory.build(tiny()), []
    own = model.features

    def features(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        if calls.count(len(images)) == 2:  # the first is not timed
            time.sleep(0.2)  # longer than all calls may take together
        return own(images)

    monkeypatch.setattr(model, "features", features)
    measure_latency(model, 5, "fp32", seconds=0)
    assert calls.count(1) >= 1 + 3 and calls.count(5) >= 1 + 3
