"""Runs with `trainer.probe`: a logistic regression on frozen features that is a run like any other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from crackdet.config.schema import Config
from crackdet.core.errors import UserError
from crackdet.data.batches import to_input
from crackdet.models.factory import build, load_trained
from crackdet.running.execute import execute
from crackdet.running.preparation import load_data
from crackdet.store.integrity import read_result
from crackdet.store.predictions import read_predictions
from crackdet.store.run import Run
from tests.jobs import Configure, job_of, outcome, train

Probe = Callable[..., Config]


@pytest.fixture
def probe(tiny: Configure, tmp_path: Path) -> Probe:
    """A probe run, its features in a cache of its own."""

    def configure(*overrides: str) -> Config:
        fixed = ["model.freeze_features=true", "trainer.probe=true", f"runtime.cache={tmp_path / 'cache'}"]
        return tiny(*fixed, *overrides)

    return configure


def inputs(config: Config, split: str) -> tuple[torch.Tensor, np.ndarray]:
    images = load_data(job_of(config))[split]
    return to_input(torch.from_numpy(np.stack([images.pixels.read(r) for r in images.records]))), images.labels


def test_the_head_is_the_logistic_regression_of_scikit_learn_with_the_chosen_penalty(probe: Probe) -> None:
    config = probe("trainer.precision=fp32")
    run = train(config)
    result, predictions = read_result(run), read_predictions(run)
    assert result is not None and predictions is not None
    network = build(config).eval()
    with torch.no_grad():
        images, labels = inputs(config, "train")
        features = network.features(images).numpy().astype(np.float64)
        valid = network.features(inputs(config, "valid")[0]).numpy().astype(np.float64)
    mean, std = features.mean(0), features.std(0)
    std[std < 1e-7] = np.inf
    reference = LogisticRegression(C=result["probe_c"], tol=1e-8, max_iter=10_000)
    reference.fit((features - mean) / std, labels)
    expected = reference.decision_function((valid - mean) / std)
    np.testing.assert_allclose(predictions.logits, expected, atol=0.05 * np.abs(expected).max())


def test_the_published_network_gives_the_published_predictions(probe: Probe) -> None:
    config = probe("trainer.precision=fp32")
    run = train(config)
    predictions = read_predictions(run)
    assert predictions is not None
    with torch.no_grad():
        logits = load_trained(config, run.weights_file).eval()(inputs(config, "valid")[0])
    np.testing.assert_allclose(logits.numpy(), predictions.logits, atol=1e-4)


def test_the_result_has_the_measures_of_the_features(probe: Probe) -> None:
    result = read_result(train(probe()))
    assert result is not None
    assert 0 <= result["knn_accuracy"] <= 1 and np.isfinite(result["logme"]) and result["probe_c"] > 0
    assert result["epochs"] == result["epoch"] == 1
    assert result["parameters"] == build(probe()).num_parameters


def test_settings_that_a_probe_does_not_use_do_not_distinguish_runs(probe: Probe) -> None:
    plain = job_of(probe()).run.id
    for unused in ("optimizer=sgd", "model.linear_features=99", "trainer.max_epochs=9", "scheduler=cosine"):
        assert job_of(probe(unused)).run.id == plain, unused
    for used in ("seed=1", "model.conv_out=[5]", "trainer.pos_weight=2.0", "data.image_size=40"):
        assert job_of(probe(used)).run.id != plain, used


def test_a_finished_probe_is_skipped_and_another_attempt_gives_the_same(probe: Probe, tmp_path: Path) -> None:
    config = probe()
    first = execute(job_of(config))
    time = job_of(config).run.result_file.stat().st_mtime_ns
    assert execute(job_of(config)) == first
    assert job_of(config).run.result_file.stat().st_mtime_ns == time
    again: Run = train(probe(f"runtime.store={tmp_path / 'again'}"))
    assert outcome(again) == outcome(job_of(config).run)
    assert not again.state_file.exists()


def test_the_weight_of_the_crack_class_counts(probe: Probe) -> None:
    sums = []
    for weight in ("0.01", "100"):
        predictions = read_predictions(train(probe(f"trainer.pos_weight={weight}")))
        assert predictions is not None
        sums.append(predictions.logits.sum())
    assert sums[0] < sums[1]


def test_all_views_are_fitted(probe: Probe) -> None:
    results = [
        read_result(train(probe("data/augmentation=flips", f"data.augmentation.views={views}"))) for views in (1, 3)
    ]
    assert all(results)
    assert results[0]["loss"] != results[1]["loss"]  # type: ignore[index]


def test_a_probe_needs_frozen_features(tiny: Configure) -> None:
    with pytest.raises(UserError, match=r"trainer.probe=true: needs model.freeze_features=true"):
        tiny("trainer.probe=true")


def test_features_over_the_limit_of_the_cache_are_refused(probe: Probe) -> None:
    with pytest.raises(UserError, match=r"set a larger runtime.cache_gib"):
        train(probe("runtime.cache_gib=0.00001"))
