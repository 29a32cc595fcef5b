"""A run directory that a sweep cannot use costs only its own run."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from crackdet.config.schema import Config
from crackdet.core.reading import read_checksummed_json
from crackdet.running.command_cache import CacheEntry, CommandCache
from crackdet.store.run import Run
from crackdet.sweep.grid import FinishedJob, unfinished
from tests.jobs import job_of, train


@pytest.fixture
def foreign(tiny: Callable[..., Config]) -> Run:
    """A finished run that holds another configuration than its id says."""
    run = train(tiny("trainer.max_epochs=1"))
    result = read_checksummed_json(run.result_file)
    run.publish(
        {**{name: value for name, value in result.items() if name not in ("id", "files")}, "identity": "0" * 64}
    )
    return run


def test_a_grid_names_it_and_trains_the_others(
    foreign: Run, tiny: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [job_of(tiny("trainer.max_epochs=1", f"seed={seed}")) for seed in range(3)]
    with caplog.at_level(logging.ERROR):
        todo, num_unusable = unfinished([*jobs, FinishedJob(foreign, [])])
    assert jobs[0].run.id == foreign.id
    assert [job.run.id for job in todo] == [job.run.id for job in jobs[1:]] and num_unusable == 1
    assert f"left out: {foreign.identity_file}: is another configuration" in caplog.text


def test_the_command_cache_does_not_know_it(foreign: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    conf = tmp_path / "conf"
    conf.mkdir()
    cache = CommandCache([conf], "run config")
    cache.put([CacheEntry(["seed=0"], foreign, "0" * 64)])
    assert CommandCache([conf], "run config").get(["seed=0"]) == foreign
    cache.put([CacheEntry(["seed=0"], foreign, "1" * 64)])
    assert CommandCache([conf], "run config").get(["seed=0"]) is None
