"""A sweep warns of a lack of disk space before it starts, and at its end reports how much its resume states take."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crackdet.config.schema import Config
from crackdet.running.job import Job
from crackdet.sweep.disk_usage import estimate_disk_usage, warn_if_disk_is_short
from crackdet.sweep.finalize import finalize
from tests.analysis.runs import publish, simulate_logits
from tests.jobs import job_of

Configure = Callable[..., Config]


def test_only_the_weights_that_are_kept_count(tiny: Configure) -> None:
    def weights(*overrides: str) -> int:
        return estimate_disk_usage([tiny(f"seed={seed}", *overrides) for seed in range(4)]).weights

    one = estimate_disk_usage([tiny()]).weights
    assert weights() == 4 * one
    assert weights("runtime.keep_weights=best:2") == 3 * one, "and those of the recommended run"
    assert weights("runtime.keep_weights=best:9") == 4 * one and weights("runtime.keep_weights=none") == 0
    two_datasets = [
        tiny(f"seed={seed}", f"data.seed={data}", "runtime.keep_weights=best:1") for seed in range(3) for data in (0, 1)
    ]
    assert estimate_disk_usage(two_datasets).weights == 4 * one
    small, large = tiny(), tiny("model.linear_features=512")
    both = estimate_disk_usage([small, large])
    assert both.weights == one + estimate_disk_usage([large]).weights and both.states > 2 * both.weights


def test_a_sweep_that_needs_more_than_the_free_disk_space_is_warned_of(
    tiny: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    def job(*overrides: str) -> Job:
        return job_of(tiny(*overrides), *overrides)

    warn_if_disk_is_short([job("seed=1"), job("seed=2")])
    assert not caplog.text
    large = ("model.linear_features=1000000000", "runtime.keep_resume_mib=1e12")  # 2 TB of weights
    warn_if_disk_is_short([job("seed=1"), job(*large)])
    assert "GiB on disk" in caplog.text and "runtime.keep_resume_mib=0" in caplog.text


def test_large_resume_states_are_reported_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(20) % 2 == 0
    for width in (1, 2):
        run = publish(tmp_path, labels, simulate_logits(labels, 3.0, width), 10, width=width)
        with caplog.at_level(logging.INFO):
            finalize(tmp_path)
        assert "crackdet clean" not in caplog.text
        run.state_file.touch()
        os.truncate(run.state_file, 2**30)  # sparse
    with caplog.at_level(logging.INFO):
        finalize(tmp_path)
    assert f"take 2.0 GiB; crackdet clean --store {tmp_path}" in caplog.text
