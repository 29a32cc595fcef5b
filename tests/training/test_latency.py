"""Inference cost: measured for every run, without side effects, robust to delays."""

import os
import time
from collections.abc import Callable

import pytest
import torch

from crackdet.config.schema import Config
from crackdet.models import factory
from crackdet.store.integrity import read_result
from crackdet.training.latency import LatencyMeter
from tests.composing import compose
from tests.jobs import MEASURED, train

Configure = Callable[..., Config]


def test_a_run_records_the_cost_of_its_network(tiny: Configure) -> None:
    run = train(tiny())
    result = read_result(run)
    assert result is not None
    for name in set(MEASURED) - {"files", "peak_memory_mib", "latency_spread_ms", "feature_latency_spread_ms"}:
        assert result[name] > 0
    assert result["latency_spread_ms"] >= 0 and result["feature_latency_spread_ms"] >= 0
    if os.access("/proc/self/clear_refs", os.W_OK):  # else the kernel does not report the peak
        assert result["peak_memory_mib"] > 0
    else:
        assert result["peak_memory_mib"] is None
    assert result["weights_mib"] * 2**20 == pytest.approx(run.weights_file.stat().st_size, rel=0.25)  # a tiny file


def test_measuring_changes_neither_the_network_nor_the_random_state(base_overrides: list[str]) -> None:
    network = ("model=torchvision", "model.name=mobilenet_v2", "model.weights=null")  # has dropout and BatchNorm
    model = factory.build(compose([*base_overrides, "data.image_size=64", *network]))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    cost = LatencyMeter(model, "fp32").result(2, seconds=0)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert min(value for name, value in cost.items() if "spread" not in name) > 0
    assert min(cost.values()) >= 0


def test_a_delayed_call_is_not_the_only_one(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = factory.build(tiny()), []
    undelayed = model.features

    def features(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        if calls.count(len(images)) == 2:  # the first is not timed
            time.sleep(0.2)  # longer than the budget of all calls
        return undelayed(images)

    monkeypatch.setattr(model, "features", features)
    LatencyMeter(model, "fp32").result(5, seconds=0)
    assert calls.count(1) >= 1 + 3 and calls.count(5) >= 1 + 3


def test_waiting_does_not_count_on_a_cpu(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    model = factory.build(tiny())
    undelayed = model.features

    def features(images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)  # as if another program had the processor, in every call
        return undelayed(images)

    monkeypatch.setattr(model, "features", features)
    cost = LatencyMeter(model, "fp32").result(2, seconds=0)
    assert cost["feature_latency_spread_ms"] > cost["feature_latency_ms"] / 4  # but it makes the time uncertain
    assert cost["feature_latency_ms"] < 20 and 1000 * 2 / cost["feature_throughput"] >= 20


def test_the_number_of_threads_of_training_is_restored(tiny: Configure) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        LatencyMeter(factory.build(tiny()), "fp32").result(2, seconds=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_long_runs_are_measured_between_epochs_too_and_short_ones_are_not(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = factory.build(tiny()), []
    forward = model.features

    def count(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return forward(images)

    monkeypatch.setattr(model, "features", count)
    meter = LatencyMeter(model, "fp32")
    meter.sample(seconds=0.001, images_per_second=1000)
    assert not calls
    meter.sample(seconds=1e6, images_per_second=1000)
    assert calls and set(calls) == {1}
