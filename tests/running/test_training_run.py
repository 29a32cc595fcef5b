"""Training: reproducible, with the published numbers of the published weights."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crackdet.config.parsing import parse
from crackdet.core.errors import RunFailed
from crackdet.core.reading import read_csv
from crackdet.inference.eval_data import EvalSet
from crackdet.inference.evaluation import evaluate
from crackdet.inference.loaded_run import LoadedRun
from crackdet.models import factory
from crackdet.store.integrity import read_result
from tests.jobs import Configure, history, job_of, outcome, train


def test_a_finished_run_has_all_of_its_files(tiny: Configure) -> None:
    run = train(tiny())
    assert {path.name for path in run.directory.iterdir()} == {
        "config.yaml", "identity.json", "provenance.json", "history.csv", "model.safetensors", "predictions.csv",
        "result.json", "resume.pt", "lock",
    }  # fmt: skip
    result = read_result(run)
    assert result is not None
    assert result["epochs"] == len(run.snapshot().history) == 2
    assert 0 <= result["precision"] <= 1 and result["number_format"] in ("fp32", "bf16")
    for name, size, _, digest in map(str.split, result["files"]):
        content = (run.directory / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (int(size), digest)


def test_training_is_reproducible(tiny: Configure, tmp_path: Path) -> None:
    augmented = ("data/augmentation=full", "trainer.max_epochs=2")
    first = train(tiny(*augmented))
    second = train(tiny(*augmented, f"runtime.store={tmp_path / 'other'}"))
    assert first.id == second.id
    assert outcome(first) == outcome(second)


def test_another_seed_changes_the_weights_and_not_the_images(tiny: Configure) -> None:
    first, second = train(tiny()), train(tiny("seed=1"))
    assert outcome(first)["weights"] != outcome(second)["weights"]
    first_result, second_result = read_result(first), read_result(second)
    assert first_result is not None and second_result is not None
    assert first_result["valid_digest"] == second_result["valid_digest"]


def test_every_reported_number_belongs_to_the_published_weights(tiny: Configure) -> None:
    # with a learning rate that overshoots, the best epoch is not the last
    run = train(tiny("optimizer.learning_rate=0.03", "trainer.max_epochs=6"))
    result = read_result(run)
    assert result is not None
    rows = run.snapshot().history
    losses = [float(row["valid_loss"]) for row in rows]
    best = losses.index(min(losses))
    assert best < len(losses) - 1, "the case that this test needs"
    assert result["epoch"] == best + 1
    assert result["accuracy"] == float(rows[best]["valid_accuracy"])
    metrics = evaluate(LoadedRun(run), EvalSet("own"), device="cpu").metrics
    assert metrics.accuracy == result["accuracy"]
    assert metrics.loss == pytest.approx(result["loss"], rel=1e-6)
    predictions = read_csv(run.predictions_file)
    right = [(float(row["logit"]) > 0) == (row["crack"] == "1") for row in predictions]
    assert sum(right) / len(right) == result["accuracy"]


def test_training_stops_early_after_epochs_without_improvement(tiny: Configure) -> None:
    run = train(tiny("optimizer.learning_rate=0.03", "trainer.max_epochs=30", "trainer.patience=2"))
    result = read_result(run)
    assert result is not None
    assert result["stopped_early"]
    assert result["epochs"] == result["epoch"] + 2 < 30


def test_a_loss_that_is_not_finite_is_reported_with_epoch_batch_and_learning_rate(tiny: Configure) -> None:
    config = tiny("optimizer=sgd", "optimizer.learning_rate=1e30")
    with pytest.raises(RunFailed, match=r"the loss is (nan|inf) in epoch 1, by batch \d of 5, at learning rate 1e\+30"):
        train(config)


def test_accumulated_batches_train_like_one_large_batch(tiny: Configure) -> None:
    # 38 images: the last step is smaller, and so is its last batch
    small = train(tiny("trainer.batch_size=4", "trainer.accumulate_grad_batches=4", "trainer.precision=fp32"))
    large = train(tiny("trainer.batch_size=16", "trainer.precision=fp32"))
    for ours, theirs in zip(history(small), history(large), strict=True):
        assert float(ours["valid_loss"]) == pytest.approx(float(theirs["valid_loss"]), rel=1e-4)


def test_schedulers_change_the_learning_rate_as_in_torch(tiny: Configure) -> None:
    rates = {}
    for name, more in {"constant": [], "cosine": [], "step": ["scheduler.step_size=2"]}.items():
        run = train(tiny(f"scheduler={name}", *more, "trainer.max_epochs=4"))
        rates[name] = [float(row["learning_rate"]) for row in run.snapshot().history]
    assert rates["constant"] == [1e-3] * 4
    assert rates["step"] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert rates["cosine"] == pytest.approx([1e-3, 0.5e-3 * (1 + 2**-0.5), 0.5e-3, 0.5e-3 * (1 - 2**-0.5)])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_reduces_the_loss(tiny: Configure, name: str) -> None:
    rate = 0.05 if name == "sgd" else 1e-3
    run = train(tiny(f"optimizer={name}", f"optimizer.learning_rate={rate}", "trainer.max_epochs=6"))
    assert float(run.snapshot().history[-1]["train_loss"]) < float(run.snapshot().history[0]["train_loss"])


def test_frozen_features_keep_their_initial_weights(tiny: Configure) -> None:
    config = tiny("model.freeze_features=true")
    before = factory.build(config).feature_extractor.state_dict()
    after = load_file(train(config).weights_file)
    assert all(torch.equal(tensor, after[f"feature_extractor.{name}"]) for name, tensor in before.items())


def test_the_stored_configuration_has_the_identity_of_the_run(tiny: Configure) -> None:
    config = tiny("data/augmentation=flips")
    run = train(config)
    identity = job_of(parse(run.snapshot().config)).identity
    assert identity.run_id == run.id
    assert json.loads(identity.canonical) == json.loads(run.identity_file.read_text())
