"""Resuming: an interrupted run ends like an undisturbed one."""

import errno
import logging
import os
import signal
from pathlib import Path

import pytest
import torch

from crackdet.analysis.rows import RunRow
from crackdet.core.signals import Interrupted
from crackdet.report.reproduction import recipe
from crackdet.training.resume_state import TrainingState
from tests.jobs import Configure, interrupt_after, interrupted_state, outcome, train


@pytest.mark.parametrize("num_batches", [1, 3, 5, 6, 7, 9, 12])  # 5 of training and 1 of validation per epoch
def test_an_interrupted_run_ends_like_an_undisturbed_one(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_batches: int
) -> None:
    settings = (
        "data/augmentation=flips",
        "trainer.accumulate_grad_batches=2",
        "scheduler=step",
        "scheduler.step_size=1",
    )
    undisturbed = train(tiny(*settings, f"runtime.store={tmp_path / 'undisturbed'}"))
    with monkeypatch.context() as patched:
        interrupt_after(patched, num_batches)
        with pytest.raises(Interrupted) as caught:
            train(tiny(*settings))
    assert caught.value.exit_status == 143
    run = train(tiny(*settings))
    assert outcome(run) == outcome(undisturbed)
    assert "earlier" not in undisturbed.snapshot().provenance


RECIPES = {
    "timm's optimizer": (
        "optimizer=timm", "optimizer.name=lion", "optimizer.layer_decay=0.7", "optimizer.decay_norm_and_bias=false",
        "optimizer.weight_decay=0.1", "scheduler=cosine", "scheduler.warmup_epochs=1.4", "trainer.ema_decay=0.9",
    ),
    "mixing": (
        "trainer.mixup=0.8", "trainer.cutmix=1.0", "trainer.label_smoothing=0.1", "data.augmentation.rand_augment=9",
        "scheduler=plateau", "scheduler.patience=0", "scheduler.warmup_epochs=1",
    ),
    "unfreezing": ("trainer.unfreeze_epochs=1", "trainer.ema_decay=0.5", "optimizer.backbone_learning_rate=1e-4"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_with_a_recipe_that_is_interrupted_again_and_again_ends_like_an_undisturbed_one(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = (*RECIPES[name], "trainer.accumulate_grad_batches=2")
    undisturbed = train(tiny(*settings, f"runtime.store={tmp_path / 'undisturbed'}"))
    for num_batches in (1, 4, 3):  # in the first epoch, in its validation, in the second epoch
        interrupted_state(tiny(*settings), monkeypatch, num_batches)
    assert outcome(train(tiny(*settings))) == outcome(undisturbed)


def test_a_resumed_run_records_the_differences_of_earlier_processes(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("first", "second"):
        with monkeypatch.context() as patched:
            patched.setattr("platform.node", lambda host=host: host)
            interrupted_state(tiny(), monkeypatch, 1)
    run = train(tiny())
    first, second = run.snapshot().provenance["earlier"]
    assert first["host"] == "first" and second["host"] == "second" != run.snapshot().provenance["host"]
    assert "versions" in run.snapshot().provenance and "versions" not in first, "only the differences"
    (text,) = (value for name, value in recipe("", RunRow(run.snapshot())).facts if name == "trained")
    assert "resumed at" in text and "with other host before" in text


def test_a_second_signal_stops_at_once_and_leaves_the_earlier_state(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = train(tiny(f"runtime.store={tmp_path / 'undisturbed'}"))
    state = interrupted_state(tiny(), monkeypatch, 3)
    saved = state.read_bytes()

    def interrupted_save(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # while the state is written because of the first signal
        pytest.fail("the second signal was ignored")

    with monkeypatch.context() as patched:
        interrupt_after(patched, 2)
        patched.setattr(TrainingState, "save", interrupted_save)
        with pytest.raises(Interrupted):
            train(tiny())
    assert state.read_bytes() == saved
    assert outcome(train(tiny())) == outcome(undisturbed)


def test_a_run_with_a_corrupt_state_restarts(tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = train(tiny(f"runtime.store={tmp_path / 'undisturbed'}"))
    state = interrupted_state(tiny(), monkeypatch, 8)
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    assert outcome(train(tiny())) == outcome(undisturbed)


@pytest.mark.parametrize("position", [0.02, 0.3, 0.5, 0.7, 0.98])
def test_a_state_with_a_flipped_bit_changes_nothing(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: float
) -> None:
    undisturbed = train(tiny(f"runtime.store={tmp_path / 'undisturbed'}"))
    state = interrupted_state(tiny(), monkeypatch, 8)
    content = bytearray(state.read_bytes())
    content[int(position * len(content))] ^= 16
    state.write_bytes(content)
    assert outcome(train(tiny())) == outcome(undisturbed)


def test_a_state_with_an_entry_that_is_marked_as_a_folder_is_corrupt(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch reads nothing of such an entry, and its checksum is right."""
    undisturbed = train(tiny(f"runtime.store={tmp_path / 'undisturbed'}"))
    state = interrupted_state(tiny(), monkeypatch, 8)
    content = bytearray(state.read_bytes())
    start = 0
    while (start := content.find(b"PK\x01\x02", start)) >= 0:  # an entry of the archive's directory
        content[start + 38] ^= 16  # the attribute of a folder
        start += 46
    state.write_bytes(content)
    assert outcome(train(tiny())) == outcome(undisturbed)


def test_a_state_whose_offsets_are_damaged_is_corrupt(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    undisturbed = train(tiny(f"runtime.store={tmp_path / 'undisturbed'}"))
    interrupted_state(tiny(), monkeypatch, 8)
    monkeypatch.setattr(TrainingState, "load", fails)
    assert outcome(train(tiny())) == outcome(undisturbed)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        OSError(errno.ESTALE, "Stale file handle"),
    ],
)
def test_a_state_that_is_temporarily_unreadable_is_kept(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    undisturbed = train(tiny(f"runtime.store={tmp_path / 'undisturbed'}"))
    state = interrupted_state(tiny(), monkeypatch, 8)
    saved = state.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(TrainingState, "load", fails)
        with pytest.raises(type(error)):
            train(tiny())
    assert state.read_bytes() == saved
    assert outcome(train(tiny())) == outcome(undisturbed)


def test_a_run_with_more_epochs_resumes_from_the_shorter_run(
    tiny: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight = train(tiny("trainer.max_epochs=4", f"runtime.store={tmp_path / 'straight'}"))
    shorter = train(tiny("trainer.max_epochs=2"))
    with caplog.at_level("INFO"):
        longer = train(tiny("trainer.max_epochs=4"))
    assert f"resuming from {shorter.id}: epoch 3" in caplog.text
    assert outcome(longer) == outcome(straight)


def test_a_run_with_a_cosine_schedule_restarts_for_more_epochs(tiny: Configure, tmp_path: Path) -> None:
    straight = train(tiny("scheduler=cosine", "trainer.max_epochs=3", f"runtime.store={tmp_path / 'straight'}"))
    train(tiny("scheduler=cosine"))
    assert outcome(train(tiny("scheduler=cosine", "trainer.max_epochs=3"))) == outcome(straight)


def test_a_state_larger_than_the_limit_is_discarded(tiny: Configure, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert train(tiny()).state_file.exists()
    assert "discarded" not in caplog.text
    assert not train(tiny("seed=1", "runtime.keep_resume_mib=0")).state_file.exists()
    assert "resume state discarded (" in caplog.text
