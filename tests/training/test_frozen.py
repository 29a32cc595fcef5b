"""Runs with frozen features: what they learn from, who computes it, and that the order of runs does not matter."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crackdet.config.schema import Config
from crackdet.core.errors import RunFailed, UserError
from crackdet.core.signals import Interrupted
from crackdet.data.batches import mapped_tensor, to_input
from crackdet.data.dataset import FeatureDataset, ImageDataset
from crackdet.models.factory import build, load_trained
from crackdet.running.preparation import load_data
from crackdet.store.integrity import read_result
from crackdet.store.predictions import read_predictions
from crackdet.store.run import Run
from crackdet.training.frozen import BATCH, FrozenExtractor
from tests.jobs import Configure, interrupt_after, job_of, outcome, train

FROZEN = "model.freeze_features=true"
Frozen = Callable[..., Config]


@pytest.fixture
def frozen(tiny: Configure, tmp_path: Path) -> Frozen:
    """A frozen run with a cache of its own."""

    def configure(*overrides: str, cache: str = "features") -> Config:
        return tiny(FROZEN, f"runtime.cache={tmp_path / cache}", *overrides)

    return configure


@pytest.fixture
def weights(frozen: Frozen, tmp_path: Path) -> str:
    """Initial weights: with them, features do not depend on the seed."""
    torch.manual_seed(7)
    file = tmp_path / "initial.pth"
    torch.save(build(frozen()).feature_extractor.state_dict(), file)
    return f"model.weights={file}"


def arrays(config: Config) -> list[Path]:
    return sorted((Path(config.runtime.cache) / "features").glob("*.npy"))


def features_of(config: Config, split: str = "train", epoch: int = 1) -> tuple[ImageDataset, Tensor]:
    """Return the images of a split, and the features that an epoch of training gets for them, in their order."""
    job = job_of(config)
    images = load_data(job)
    extractor = FrozenExtractor(config, job.identity.content["model"], torch.device("cpu"), "fp32")
    dataset = extractor.datasets(images, lambda _: None)[split].in_epoch(epoch)
    assert isinstance(dataset, FeatureDataset)
    return images[split], mapped_tensor(dataset.cached)[torch.from_numpy(dataset.rows)]


def test_the_features_are_those_of_the_network(frozen: Frozen) -> None:
    config = frozen()
    for split in ("train", "valid"):
        images, features = features_of(config, split)
        pixels = torch.from_numpy(np.stack([images.pixels.read(record) for record in images.records]))
        with torch.no_grad():
            expected = build(config).eval().features(to_input(pixels))
        torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)


def test_a_run_on_cached_features_learns_what_a_run_without_them_learns(frozen: Frozen) -> None:
    cached, computed = (
        read_result(train(frozen("trainer.precision=fp32", gib))) for gib in ("seed=0", "runtime.cache_gib=0")
    )
    assert cached is not None and computed is not None
    assert cached["id"] == computed["id"]
    for name in ("accuracy", "loss", "roc_auc", "epoch", "parameters", "feature_dimension", "feature_flops"):
        assert cached[name] == pytest.approx(computed[name], rel=1e-4), name


def test_the_published_network_gives_the_published_predictions(frozen: Frozen) -> None:
    config = frozen("trainer.precision=fp32")
    run = train(config)
    valid = load_data(job_of(config))["valid"]
    pixels = torch.from_numpy(np.stack([valid.pixels.read(record) for record in valid.records]))
    with torch.no_grad():
        logits = load_trained(config, run.weights_file).eval()(to_input(pixels))
    predictions = read_predictions(run)
    assert predictions is not None
    torch.testing.assert_close(logits.double(), torch.from_numpy(predictions.logits), rtol=1e-4, atol=1e-5)


def test_only_the_head_is_trained(frozen: Frozen, weights: str) -> None:
    config = frozen(weights)
    trained, initial = load_trained(config, train(config).weights_file), build(config)
    for name, tensor in initial.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name]) == (not name.startswith("classifier.")), name


def test_runs_of_all_heads_and_seeds_share_features_of_given_weights(frozen: Frozen, weights: str) -> None:
    for overrides in (["seed=0"], ["seed=1"], ["model.linear_features=4"], ["optimizer.learning_rate=0.1"]):
        train(frozen(weights, *overrides))
    assert len(arrays(frozen(weights))) == 1


def test_random_weights_of_another_seed_give_other_features(frozen: Frozen) -> None:
    _, first = features_of(frozen("seed=0"))
    _, second = features_of(frozen("seed=1"))
    assert not torch.equal(first, second) and len(arrays(frozen())) == 2


def test_the_order_of_runs_and_the_number_of_threads_change_no_bit(
    frozen: Frozen, weights: str, tmp_path: Path
) -> None:
    outcomes = []
    for order in (["seed=0", "seed=1"], ["seed=1", "seed=0"]):
        found = {}
        for number, seed in enumerate(order):
            # the first run computes the features, in one or in three threads
            torch.set_num_threads(1 if order[0] == "seed=0" or number else 3)
            first = order[0].replace("=", "")
            store = f"runtime.store={tmp_path / first}"
            found[seed] = outcome(train(frozen(weights, seed, store, "runtime.num_threads=1", cache=first)))
        outcomes.append(found)
    assert outcomes[0] == outcomes[1]


def test_features_do_not_depend_on_the_number_of_threads(frozen: Frozen, weights: str) -> None:
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(features_of(frozen(weights, "data.num_images=150", cache=f"threads{threads}"))[1])
    torch.set_num_threads(1)
    assert torch.equal(*found)


def test_an_interrupted_computation_of_features_goes_on_and_changes_nothing(
    frozen: Frozen, weights: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = ["data.num_images=200", "data.valid_fraction=0.1"]
    uninterrupted = outcome(train(frozen(weights, *images, f"runtime.store={tmp_path / 'other'}", cache="other")))
    config = frozen(weights, *images)
    with monkeypatch.context() as patched:
        interrupt_after(patched, 4, "crackdet.training.frozen")
        with pytest.raises(Interrupted):
            train(config)
    (unfinished,) = (Path(config.runtime.cache) / "features").glob(".*.npy.tmp")
    done = np.load(unfinished)
    assert done[:BATCH].any() and not done[-1].any()
    assert outcome(train(config)) == uninterrupted


def test_augmentation_alternates_between_views(frozen: Frozen, weights: str) -> None:
    config = frozen(weights, "data/augmentation=flips", "data.augmentation.views=2")
    epochs = [features_of(config, epoch=epoch)[1] for epoch in (1, 2, 3)]
    assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])
    _, plain = features_of(frozen(weights), "valid")
    assert torch.equal(features_of(config, "valid")[1], plain)
    assert len(arrays(config)) == 4  # two views, the validation images, and the images without augmentation


def test_views_decide_the_result_of_a_frozen_run_only(frozen: Frozen, tiny: Configure) -> None:
    flips = "data/augmentation=flips"
    views = [job_of(frozen(flips, *more)).run.id for more in ([], ["data.augmentation.views=4"])]
    assert views[0] == views[1] != job_of(frozen(flips, "data.augmentation.views=5")).run.id
    for configure, overrides in ((tiny, [flips]), (frozen, [])):
        plain = job_of(configure(*overrides))
        assert plain.run.id == job_of(configure(*overrides, "data.augmentation.views=5")).run.id
        assert "views" not in plain.identity.content["data"]["augmentation"]


def test_features_over_the_limit_of_the_cache_are_computed_in_each_epoch(
    frozen: Frozen, weights: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    overrides = [weights, "data/augmentation=flips", "data.augmentation.rand_augment=9", "trainer.precision=fp32"]
    limited = read_result(train(frozen(*overrides, "runtime.cache_gib=0.0001")))
    assert "over runtime.cache_gib=0.0001: they are computed in each epoch" in caplog.text
    assert not arrays(frozen())
    cached = read_result(train(frozen(*overrides)))
    assert cached is not None and limited is not None
    assert cached["loss"] == pytest.approx(limited["loss"], rel=1e-4)  # of the same views


def test_a_cache_that_cannot_be_written_is_named(frozen: Frozen, tmp_path: Path) -> None:
    config = frozen()
    load_data(job_of(config))
    (Path(config.runtime.cache) / "features").write_text("in the way")
    with pytest.raises(UserError, match=r"runtime.cache=.*features cannot be written"):
        train(config)


def test_features_that_are_not_finite_are_refused(frozen: Frozen, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="the features of custom are not finite"):
        train(frozen("model.input_std=[1e-45,1e-45,1e-45]"))


def test_costs_are_those_of_the_whole_network(frozen: Frozen) -> None:
    result = read_result(train(frozen()))
    assert result is not None
    assert result["latency_ms"] > result["feature_latency_ms"] > 0
    assert 0 < result["throughput"] < result["feature_throughput"]


def test_a_frozen_run_that_is_interrupted_in_training_ends_like_an_uninterrupted_one(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    overrides = ["data/augmentation=flips", "data.augmentation.views=2", "trainer.max_epochs=4"]
    expected = outcome(train(frozen(*overrides, f"runtime.store={tmp_path / 'other'}")))
    config = frozen(*overrides)
    for batches in (3, 9):
        with monkeypatch.context() as patched:
            interrupt_after(patched, batches)
            with pytest.raises(Interrupted):
                train(config)
    assert outcome(train(config)) == expected


def test_the_resume_state_holds_the_head_only(frozen: Frozen) -> None:
    run: Run = train(frozen("model.conv_out=[4,64,64]", "model.linear_features=2"))
    assert run.state_file.stat().st_size < run.weights_file.stat().st_size
