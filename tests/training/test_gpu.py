"""What only a CUDA device can show; skipped where there is none."""

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crackdet.data import batches, data_fingerprint, load_splits
from crackdet.errors import RunFailed
from crackdet.identity import identify
from crackdet.schema import Config
from crackdet.store import RunStore, Status
from crackdet.sweep.job import Job, execute
from crackdet.training import loop
from tests.training.test_run import outcome, stopped, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

Configure = Callable[..., Config]


DROPOUT = ("model=torchvision", "model.name=mobilenet_v2", "model.weights=null")
ATTENTION = ("model=torchvision", "model.name=vit_b_16", "model.weights=null", "data.image_size=224")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("network", [(), DROPOUT, ATTENTION], ids=["custom", "dropout", "attention"])
def test_an_interrupted_run_on_a_gpu_ends_as_one_left_alone(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: tuple[str, ...], precision: str
) -> None:
    settings = (*network, "runtime.device=cuda", f"trainer.precision={precision}", "data/augmentation=flips")
    alone = train(tiny(*settings, f"runtime.store={tmp_path / 'alone'}"))
    stopped(tiny(*settings), monkeypatch, 8)
    assert outcome(train(tiny(*settings))) == outcome(alone)


def test_out_of_gpu_memory_is_a_recorded_failure(tiny: Configure) -> None:
    config = tiny("runtime.device=cuda", "model.linear_features=4096")  # 80 MB of weights
    identity = identify(config, data_fingerprint(config.data, config.runtime))
    run = RunStore(Path(config.runtime.store)).run(identity.run_id)
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        with pytest.raises(RunFailed, match="out of GPU memory"):
            execute(Job(config, identity, run, []))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert run.status() is Status.FAILED


def test_no_batch_waits_for_the_gpu(tiny: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_epoch, waited = loop.train_epoch, Counter[str]()

    def watched(*arguments: Any) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # else a line that waits again and again is told once
            torch.cuda.set_sync_debug_mode("warn")
            try:
                train_epoch(*arguments)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waited[store] += sum("synchronizing" in str(warning.message) for warning in caught)

    monkeypatch.setattr(loop, "train_epoch", watched)
    for store, batch_size in (("first", 16), ("small", 4), ("large", 16)):  # the first one's kernels are prepared
        batches = ("data/augmentation=full", f"trainer.batch_size={batch_size}")
        train(tiny("runtime.device=cuda", *batches, f"runtime.store={tmp_path / store}"))
    assert waited["small"] == waited["large"], "smaller batches are more batches"


def test_batches_are_the_same_from_the_memory_of_the_gpu_and_from_the_map(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    images = load_splits(config.data, config.runtime)["train"]
    order = batches.cut(batches.shuffled(len(images), 0, 1), 8)
    device = torch.device("cuda", 0)
    before = torch.cuda.memory_allocated(device)
    batches.hold(images, device)
    assert torch.cuda.memory_allocated(device) > before
    resident = list(batches.load(images, order, device, None))
    monkeypatch.setattr(batches, "_held", {})
    for ours, moved in zip(resident, batches.load(images, order, device, None), strict=True):
        assert torch.equal(ours.images, moved.images) and torch.equal(ours.labels, moved.labels)
    monkeypatch.setattr(batches, "GPU_SHARE", 0.0)
    batches.hold(images, device)
    assert not batches._held


def test_the_peak_of_a_run_on_a_gpu_is_that_of_its_tensors(tiny: Configure) -> None:
    result = train(tiny("runtime.device=cuda", "model.linear_features=512")).result
    assert result is not None
    assert result["peak_memory_mib"] > 3 * result["weights_mib"]
