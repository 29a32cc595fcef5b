import errno
import hashlib
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from crackdet.running.train_run import load_data, train_run
from safetensors.torch import load_file

from crackdet.analysis.rows import RunRow
from crackdet.config.schema import Config
from crackdet.core.errors import RunFailed
from crackdet.core.files import read_csv
from crackdet.core.signals import Interrupted
from crackdet.data.dataset import data_fingerprint
from crackdet.inference.eval_data import EvalSet
from crackdet.inference.evaluation import evaluate
from crackdet.inference.loaded_run import LoadedRun
from crackdet.models import factory
from crackdet.report.reproduction import recipe
from crackdet.store.identity import identify
from crackdet.store.integrity import read_result
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.training import loop
from crackdet.training.state import TrainingState
from tests.conftest import MEASURED

Configure = Callable[..., Config]


def train(config: Config) -> Run:
    """A run from claim to result, in this process."""
    identity = identify(config, data_fingerprint(config.data, config.runtime))
    run = RunStore(Path(config.runtime.store)).run(identity.run_id)
    with run.claim():
        train_run(run, config, identity, load_data(config, identity), [])
    return run


def history(run: Run) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in run.snapshot().history]


def outcome(run: Run) -> dict[str, Any]:
    """All of a run that must be the same when it is trained again."""
    result = read_result(run)
    assert result is not None
    result = {name: value for name, value in result.items() if name not in MEASURED}
    return {
        "result": result,
        "history": history(run),
        "weights": run.weights_file.read_bytes(),
        "predictions": run.predictions_file.read_text(),
    }


def test_a_run_leaves_all_that_is_known_of_it(tiny: Configure) -> None:
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


def test_the_same_configuration_gives_the_same_numbers_twice(tiny: Configure, tmp_path: Path) -> None:
    augmented = ("data/augmentation=full", "trainer.max_epochs=2")
    first = train(tiny(*augmented))
    second = train(tiny(*augmented, f"runtime.store={tmp_path / 'other'}"))
    assert first.id == second.id
    assert outcome(first) == outcome(second)


def test_another_seed_gives_other_weights_over_the_same_images(tiny: Configure) -> None:
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
    assert best < len(losses) - 1, "the case that this test is about"
    assert result["epoch"] == best + 1
    assert result["accuracy"] == float(rows[best]["valid_accuracy"])
    metrics = evaluate(LoadedRun(run), EvalSet("own"), device="cpu").metrics
    assert metrics.accuracy == result["accuracy"]
    assert metrics.loss == pytest.approx(result["loss"], rel=1e-6)
    predictions = read_csv(run.predictions_file)
    right = [(float(row["logit"]) > 0) == (row["crack"] == "1") for row in predictions]
    assert sum(right) / len(right) == result["accuracy"]


def test_training_stops_after_so_many_epochs_without_a_gain(tiny: Configure) -> None:
    run = train(tiny("optimizer.learning_rate=0.03", "trainer.max_epochs=30", "trainer.patience=2"))
    result = read_result(run)
    assert result is not None
    assert result["stopped_early"]
    assert result["epochs"] == result["epoch"] + 2 < 30


class StopAt:
    """Sends this process a signal after so many batches, wherever they come from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
        self.left = batches
        original = loop.iter_batches

        def load(*arguments: Any) -> Any:
            for batch in original(*arguments):
                self.left -= 1
                if self.left == 0:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

        monkeypatch.setattr(loop, "iter_batches", load)


def stopped(config: Config, monkeypatch: pytest.MonkeyPatch, batches: int) -> Path:
    """The state of a run that was asked to stop after so many batches."""
    with monkeypatch.context() as patched:
        StopAt(patched, batches)
        with pytest.raises(Interrupted):
            train(config)
    (state,) = Path(config.runtime.store).glob("*/resume.pt")
    return state


@pytest.mark.parametrize("batches", [1, 3, 5, 6, 7, 9, 12])  # 5 of training and 1 of validation an epoch
def test_an_interrupted_run_ends_as_one_left_alone(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    settings = (
        "data/augmentation=flips",
        "trainer.accumulate_grad_batches=2",
        "scheduler=step",
        "scheduler.step_size=1",
    )
    alone = train(tiny(*settings, f"runtime.store={tmp_path / 'alone'}"))
    with monkeypatch.context() as patched:
        StopAt(patched, batches)
        with pytest.raises(Interrupted) as caught:
            train(tiny(*settings))
    assert caught.value.exit_status == 143
    run = train(tiny(*settings))
    assert outcome(run) == outcome(alone)
    assert "earlier" not in alone.snapshot().provenance


def test_a_run_that_went_on_says_what_was_otherwise_before(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("first", "second"):
        with monkeypatch.context() as patched:
            patched.setattr("platform.node", lambda host=host: host)
            stopped(tiny(), monkeypatch, 1)
    run = train(tiny())
    first, second = run.snapshot().provenance["earlier"]
    assert first["host"] == "first" and second["host"] == "second" != run.snapshot().provenance["host"]
    assert "versions" in run.snapshot().provenance and "versions" not in first, "only what was otherwise"
    (said,) = (value for name, value in recipe("", RunRow(run.snapshot())).facts if name == "trained")
    assert "resumed at" in said and "with other host before" in said


def test_a_second_signal_leaves_at_once_with_what_was_saved_before(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = train(tiny(f"runtime.store={tmp_path / 'alone'}"))
    state = stopped(tiny(), monkeypatch, 3)
    saved = state.read_bytes()

    def interrupted_save(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # while the first signal's state is being written
        pytest.fail("the second signal was not heeded")

    with monkeypatch.context() as patched:
        StopAt(patched, 2)
        patched.setattr(TrainingState, "save", interrupted_save)
        with pytest.raises(Interrupted):
            train(tiny())
    assert state.read_bytes() == saved
    assert outcome(train(tiny())) == outcome(alone)


def test_a_damaged_resume_state_is_left_and_the_run_trained_anew(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = train(tiny(f"runtime.store={tmp_path / 'alone'}"))
    state = stopped(tiny(), monkeypatch, 8)
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    assert outcome(train(tiny())) == outcome(alone)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        OSError(errno.ESTALE, "Stale file handle"),
    ],
)
def test_a_state_that_cannot_be_read_just_now_is_kept(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    alone = train(tiny(f"runtime.store={tmp_path / 'alone'}"))
    state = stopped(tiny(), monkeypatch, 8)
    saved = state.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(TrainingState, "load", fails)
        with pytest.raises(type(error)):
            train(tiny())
    assert state.read_bytes() == saved
    assert outcome(train(tiny())) == outcome(alone)


def test_more_epochs_go_on_from_the_shorter_run(
    tiny: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight = train(tiny("trainer.max_epochs=4", f"runtime.store={tmp_path / 'straight'}"))
    shorter = train(tiny("trainer.max_epochs=2"))
    with caplog.at_level("INFO"):
        longer = train(tiny("trainer.max_epochs=4"))
    assert f"resuming from {shorter.id}: epoch 3" in caplog.text
    assert outcome(longer) == outcome(straight)


def test_a_cosine_schedule_begins_anew_for_more_epochs(tiny: Configure, tmp_path: Path) -> None:
    straight = train(tiny("scheduler=cosine", "trainer.max_epochs=3", f"runtime.store={tmp_path / 'straight'}"))
    train(tiny("scheduler=cosine"))
    assert outcome(train(tiny("scheduler=cosine", "trainer.max_epochs=3"))) == outcome(straight)


def test_a_loss_that_is_no_longer_finite_stops_the_run_with_the_place(tiny: Configure) -> None:
    config = tiny("optimizer=sgd", "optimizer.learning_rate=1e30")
    with pytest.raises(RunFailed, match=r"the loss is (nan|inf) in epoch 1, by batch \d of 5, at learning rate 1e\+30"):
        train(config)


def test_accumulated_batches_are_one_large_batch(tiny: Configure) -> None:
    # 38 images: the last step is smaller, and so is its last batch
    small = train(tiny("trainer.batch_size=4", "trainer.accumulate_grad_batches=4", "trainer.precision=fp32"))
    large = train(tiny("trainer.batch_size=16", "trainer.precision=fp32"))
    for ours, theirs in zip(history(small), history(large), strict=True):
        assert float(ours["valid_loss"]) == pytest.approx(float(theirs["valid_loss"]), rel=1e-4)


def test_schedules_change_the_learning_rate_as_torch_does(tiny: Configure) -> None:
    rates = {}
    for name, more in {"constant": [], "cosine": [], "step": ["scheduler.step_size=2"]}.items():
        run = train(tiny(f"scheduler={name}", *more, "trainer.max_epochs=4"))
        rates[name] = [float(row["learning_rate"]) for row in run.snapshot().history]
    assert rates["constant"] == [1e-3] * 4
    assert rates["step"] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert rates["cosine"] == pytest.approx([1e-3, 0.5e-3 * (1 + 2**-0.5), 0.5e-3, 0.5e-3 * (1 - 2**-0.5)])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_learns(tiny: Configure, name: str) -> None:
    rate = 0.05 if name == "sgd" else 1e-3
    run = train(tiny(f"optimizer={name}", f"optimizer.learning_rate={rate}", "trainer.max_epochs=6"))
    assert float(run.snapshot().history[-1]["train_loss"]) < float(run.snapshot().history[0]["train_loss"])


def test_frozen_features_stay_as_they_began(tiny: Configure) -> None:
    config = tiny("model.freeze_features=true")
    before = factory.build(config).feature_extractor.state_dict()
    after = load_file(train(config).weights_file)
    assert all(torch.equal(tensor, after[f"feature_extractor.{name}"]) for name, tensor in before.items())


def test_a_state_over_the_limit_is_not_kept(tiny: Configure, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert train(tiny()).state_file.exists()
    assert "begin anew" not in caplog.text
    assert not train(tiny("seed=1", "runtime.keep_resume_mib=0")).state_file.exists()
    assert "more epochs would begin anew: its state" in caplog.text


def test_what_is_stored_can_be_read_back_as_the_same_configuration(tiny: Configure) -> None:
    from crackdet.config.parsing import parse

    config = tiny("data/augmentation=flips")
    run = train(config)
    identity = identify(parse(run.snapshot().config), data_fingerprint(config.data, config.runtime))
    assert identity.run_id == run.id
    assert json.loads(identity.canonical) == json.loads(run.identity_file.read_text())
