"""Tests that need a CUDA device; skipped without one."""

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crackdet.config.parsing import parse
from crackdet.config.schema import Config, to_dict
from crackdet.core.errors import RunFailed
from crackdet.data import batches
from crackdet.data.dataset import load_splits
from crackdet.running.execute import execute
from crackdet.store.integrity import read_result
from crackdet.store.snapshot import Status
from crackdet.training import loop
from tests.composing import compose
from tests.conftest import TINY
from tests.jobs import interrupted_state, job_of, outcome, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

Configure = Callable[..., Config]

NETWORKS = {
    "custom": ("model=custom", *(setting for setting in TINY if setting.startswith("model."))),
    "dropout": (
        "model=torchvision", "model.name=mobilenet_v2", "model.weights=null",
        "optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true",
    ),
    "attention": (
        "model=torchvision", "model.name=vit_b_16", "model.weights=null", "data.image_size=224",
        "optimizer=adamw", "optimizer.weight_decay=0.01",
    ),
}  # fmt: skip


@pytest.fixture
def on_gpu(base_overrides: list[str]) -> Configure:
    """Return configurations of short runs of `NETWORKS` in which the last batch is smaller than the others."""
    tiny = [setting for setting in TINY if not setting.startswith("model.")]

    def configure(network: str, *overrides: str) -> Config:
        images = ("data.num_images=54", "data/augmentation=full")
        steps = ("trainer.pos_weight=2", "trainer.gradient_clip_norm=1", "scheduler=step", "scheduler.step_size=1")
        return compose([*tiny, *base_overrides, *NETWORKS[network], *images, *steps, "runtime.device=cuda", *overrides])

    return configure


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_an_interrupted_run_on_a_gpu_ends_like_an_uninterrupted_one(
    on_gpu: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, precision: str
) -> None:
    settings = (network, f"trainer.precision={precision}")
    uninterrupted = train(on_gpu(*settings, f"runtime.store={tmp_path / 'uninterrupted'}"))
    interrupted_state(on_gpu(*settings), monkeypatch, 11)
    assert outcome(train(on_gpu(*settings))) == outcome(uninterrupted)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_cuda_graphs_do_not_change_a_single_bit(
    on_gpu: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, precision: str
) -> None:
    replay, replays = torch.cuda.CUDAGraph.replay, Counter[str]()

    def count_and_replay(graph: torch.cuda.CUDAGraph) -> None:
        replays[store] += 1
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", count_and_replay)
    outcomes = {}
    for store in ("true", "false"):
        base_overrides = (f"runtime.store={tmp_path / store}", f"runtime.cuda_graphs={store}")
        outcomes[store] = outcome(train(on_gpu(network, f"trainer.precision={precision}", *base_overrides)))
    assert outcomes["true"] == outcomes["false"]
    # 5 full batches of training and 1 of validation in each of 2 epochs, except the very first ones
    assert replays == {"true": 10 - 1 + 2 - 1}


class Synchronizing(nn.Module):
    """A user's network that reads a value, for which it waits for the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 5, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return maps if maps.is_meta or maps.mean().item() < 100 else maps / 2


def test_a_users_network_is_captured_only_on_request(on_gpu: Configure, tmp_path: Path) -> None:
    def synchronizing(*overrides: str) -> Config:
        model = {"_target_": f"{__name__}.Synchronizing", "name": "synchronizing"}
        return parse({**to_dict(on_gpu("custom", *overrides)), "model": model})

    assert read_result(train(synchronizing())) is not None
    with pytest.raises(RunFailed, match="cannot be captured in a CUDA graph"):
        train(synchronizing("runtime.cuda_graphs=true", f"runtime.store={tmp_path / 'captured'}"))
    assert read_result(train(on_gpu("dropout"))) is not None, "the next run of the process"


def test_out_of_gpu_memory_is_a_recorded_failure(tiny: Configure) -> None:
    job = job_of(tiny("runtime.device=cuda", "model.linear_features=4096"))  # 80 MB of weights
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        with pytest.raises(RunFailed, match="out of GPU memory"):
            execute(job)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert job.run.status() is Status.FAILED


def test_no_batch_waits_for_the_gpu(tiny: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_epoch, waits = loop.train_epoch, Counter[str]()

    def count_waits(*arguments: Any) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # otherwise a line that waits repeatedly warns once
            torch.cuda.set_sync_debug_mode("warn")
            try:
                train_epoch(*arguments)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits[store] += sum("synchronizing" in str(warning.message) for warning in caught)

    monkeypatch.setattr(loop, "train_epoch", count_waits)
    for store, batch_size in (("first", 16), ("small", 4), ("large", 16)):  # the first run prepares kernels
        batches = ("data/augmentation=full", f"trainer.batch_size={batch_size}")
        train(tiny("runtime.device=cuda", *batches, f"runtime.store={tmp_path / store}"))
    assert waits["small"] == waits["large"], "more batches must not wait more often"


def test_batches_from_the_gpu_cache_equal_those_from_the_file(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny()
    monkeypatch.setattr(batches, "_gpu_cache", batches.GpuCache())
    images = load_splits(config.data, config.runtime)["train"]
    order = batches.make_batches(batches.shuffled_indices(len(images), 0, 1), 8)
    device = torch.device("cuda", 0)
    before = torch.cuda.memory_allocated(device)
    batches.cache_on_gpu(images, device)
    assert torch.cuda.memory_allocated(device) > before
    resident = list(batches.iter_batches(images, order, device, None))
    monkeypatch.setattr(batches, "_gpu_cache", batches.GpuCache())
    for ours, moved in zip(resident, batches.iter_batches(images, order, device, None), strict=True):
        assert torch.equal(ours.inputs, moved.inputs) and torch.equal(ours.labels, moved.labels)
    monkeypatch.setattr(batches, "MAX_GPU_SHARE", 0.0)
    batches.cache_on_gpu(images, device)
    assert batches._gpu_cache.get(images, device) is None


def test_the_peak_memory_of_a_run_on_a_gpu_is_that_of_its_tensors(tiny: Configure) -> None:
    result = read_result(train(tiny("runtime.device=cuda", "model.linear_features=512")))
    assert result is not None
    assert result["peak_memory_mib"] > 3 * result["weights_mib"]
