"""Weights of images: what they change in training, and what they do not."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crackdet.config.schema import Config
from crackdet.data.batches import iter_batches
from crackdet.data.dataset import load_splits
from crackdet.store.run import Run
from tests.composing import compose
from tests.conftest import TINY
from tests.jobs import history, interrupted_state, train

Weighted = Callable[..., Config]


@pytest.fixture
def weighted(photographs: Path, base_overrides: list[str]) -> Weighted:
    """Configurations of a table of sixteen images with these weights; None leaves the column out."""
    network = [setting for setting in TINY if not setting.startswith(("data.", "trainer.batch_size"))]
    names = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.png"))

    def configure(weights: Sequence[float] | None, *overrides: str) -> Config:
        table = photographs / f"labels{len(list(photographs.glob('*.csv')))}.csv"
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", *([] if weights is None else ["weight"])])
            for number, name in enumerate(names):
                writer.writerow([name, name.split("/")[0], *([] if weights is None else [repr(weights[number])])])
        data = ("data=table", f"data.table={table}", "data.image_size=32", "trainer.batch_size=4")
        return compose([*network, *base_overrides, *data, *overrides])

    return configure


def learned(run: Run) -> dict[str, Any]:
    """Everything that training gives, without the names of the run and the table."""
    tensors = {name: tensor.numpy().tobytes() for name, tensor in load_file(run.weights_file).items()}
    return {"history": history(run), "tensors": tensors, "predictions": run.predictions_file.read_text()}


def in_store(folder: Path) -> str:
    return f"runtime.store={folder}"


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_equal_weights_do_not_change_a_bit(weight: float, weighted: Weighted, tmp_path: Path) -> None:
    plain = learned(train(weighted(None, in_store(tmp_path / "plain"))))
    equal = learned(train(weighted([weight] * 16, in_store(tmp_path / "equal"))))
    assert equal == plain


def test_only_the_ratio_of_weights_matters(weighted: Weighted, tmp_path: Path) -> None:
    weights = [1.0 + number % 3 for number in range(16)]
    runs = [
        learned(train(weighted([factor * weight for weight in weights], in_store(tmp_path / str(factor)))))
        for factor in (1, 4)
    ]
    assert runs[0] == runs[1]
    assert runs[0]["tensors"] != learned(train(weighted(None, in_store(tmp_path / "none"))))["tensors"]


def losses(config: Config) -> dict[str, float]:
    (row,) = history(train(config))
    return {name: float(row[f"{name}_loss"]) for name in ("train", "valid")}


def test_the_training_loss_is_the_weighted_mean_and_the_validation_loss_is_not(
    weighted: Weighted, tmp_path: Path
) -> None:
    """Without learning, the loss of an image is the same in all runs, so the mean loss is linear in the weights."""
    still = ("optimizer.learning_rate=1e-30", "trainer.max_epochs=1", "trainer.accumulate_grad_batches=2")
    low = [0.5 + number / 15 for number in range(16)]
    config = weighted(low, in_store(tmp_path / "low"), *still)
    train_records = load_splits(config.data, config.runtime)["train"].records
    mean = sum(record.weight for record in train_records) / len(train_records)
    high = [3 * mean - weight for weight in low]  # the mean of the training images is twice as high
    found = [losses(config), losses(weighted(high, in_store(tmp_path / "high"), *still)),
             losses(weighted(None, in_store(tmp_path / "plain"), *still))]  # fmt: skip
    assert found[0]["train"] + 2 * found[1]["train"] == pytest.approx(3 * found[2]["train"], rel=1e-5)
    assert found[0]["train"] != pytest.approx(found[2]["train"], rel=1e-4)
    assert found[0]["valid"] == found[1]["valid"] == found[2]["valid"]


def test_a_weighted_run_that_is_interrupted_ends_like_an_undisturbed_one(
    weighted: Weighted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = [1.0 + number % 5 for number in range(16)]
    settings = ("trainer.accumulate_grad_batches=2", "data/augmentation=flips")
    undisturbed = learned(train(weighted(weights, in_store(tmp_path / "undisturbed"), *settings)))
    interrupted_state(weighted(weights, *settings), monkeypatch, 3)
    assert learned(train(weighted(weights, *settings))) == undisturbed


@pytest.mark.parametrize("cache_gib", [1.0, 0.0])
def test_each_image_of_a_batch_has_its_weight(cache_gib: float, weighted: Weighted) -> None:
    config = weighted([1.0 + number for number in range(16)], f"runtime.cache_gib={cache_gib}")
    images = load_splits(config.data, config.runtime)["train"]
    assert images.weights is not None and images.weights.mean() == pytest.approx(1)
    order = np.random.default_rng(0).permutation(len(images))
    for batch in iter_batches(images, [order[:5], order[5:]], torch.device("cpu"), 0):
        given = torch.tensor([images.records[index].weight for index in batch.indices])
        assert batch.weights is not None
        assert torch.allclose(batch.weights / batch.weights[0], given / given[0])
