"""Jobs and runs for tests: made, trained and compared."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crackdet.config.schema import Config, to_dict
from crackdet.core.signals import Interrupted
from crackdet.data import batches
from crackdet.running.job import Job, make_job
from crackdet.running.preparation import load_data
from crackdet.running.training_run import train_run
from crackdet.store.integrity import read_result
from crackdet.store.run import Run

Configure = Callable[..., Config]  # the fixture `tiny`

MEASURED = (  # fields of a result or a history that differ from run to run
    "seconds", "images_per_second", "latency_ms", "throughput", "feature_latency_ms", "feature_throughput",
    "latency_spread_ms", "feature_latency_spread_ms", "peak_memory_mib", "files",
)  # fmt: skip


def job_of(config: Config, *overrides: str) -> Job:
    """Return the job of a configuration; the overrides are only recorded."""
    return make_job(to_dict(config), list(overrides))


def train(config: Config, *overrides: str) -> Run:
    """Claim and train a run in this process, even if it is finished."""
    job = job_of(config, *overrides)
    with job.run.claim():
        train_run(job, load_data(job))
    return job.run


def history(run: Run) -> list[dict[str, str]]:
    """Return the rows of the history, without measured times."""
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in run.snapshot().history]


def outcome(run: Run) -> dict[str, Any]:
    """Return everything about a finished run that is reproducible."""
    result = read_result(run)
    assert result is not None
    return {
        "result": {name: value for name, value in result.items() if name not in MEASURED},
        "history": history(run),
        "weights": run.weights_file.read_bytes(),
        "predictions": run.predictions_file.read_text(),
    }


def interrupt_after(monkeypatch: pytest.MonkeyPatch, num_batches: int, module: str = "crackdet.training.loop") -> None:
    """Let this process send itself SIGTERM once a module has loaded so many batches, of training or validation."""
    remaining = num_batches
    original = batches.iter_batches

    def iter_batches(*arguments: Any) -> Iterator[Any]:
        nonlocal remaining
        for batch in original(*arguments):
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(f"{module}.iter_batches", iter_batches)


def interrupted_state(config: Config, monkeypatch: pytest.MonkeyPatch, num_batches: int) -> Path:
    """Train until so many batches have been loaded; return the saved state."""
    with monkeypatch.context() as patched:
        interrupt_after(patched, num_batches)
        with pytest.raises(Interrupted):
            train(config)
    (state,) = Path(config.runtime.store).glob("*/resume.pt")
    return state
