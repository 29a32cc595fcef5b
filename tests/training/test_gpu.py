"""What only a CUDA device can show; skipped where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crackdet.data import data_fingerprint
from crackdet.errors import RunFailed
from crackdet.identity import identify
from crackdet.schema import Config
from crackdet.store import RunStore, Status
from crackdet.sweep.job import Job, execute
from crackdet.training.interrupt import Interrupted
from tests.training.test_run import StopAt, outcome, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

Configure = Callable[..., Config]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_interrupted_run_on_a_gpu_ends_as_one_left_alone(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    settings = ("runtime.device=cuda", f"trainer.precision={precision}", "data/augmentation=flips")
    alone = train(tiny(*settings, f"runtime.store={tmp_path / 'alone'}"))
    with monkeypatch.context() as patched:
        StopAt(patched, 8)
        with pytest.raises(Interrupted):
            train(tiny(*settings))
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
