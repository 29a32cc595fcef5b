"""What workers get of a machine, in environments that pretend to be one."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.config.schema import Runtime
from crackdet.sweep.execution.resources import GPUS, THREADS, allocate, describe


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setenv(GPUS, "")


def gpus(**settings: object) -> list[str | None]:
    return [seat.environment.get(GPUS) for seat in allocate(Runtime(**settings))]  # type: ignore[arg-type]


def test_each_worker_has_a_gpu_of_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "3, GPU-8f2e,5")
    assert gpus(parallel_runs=3) == ["3", "GPU-8f2e", "5"]
    assert gpus(parallel_runs=4, device="cuda") == ["3", "GPU-8f2e", "5", "3"], "then they share"
    assert describe(allocate(Runtime(parallel_runs=2))) == "2 workers, GPUs 3, GPU-8f2e"


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_device_that_is_named_is_left_alone(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setenv(GPUS, "0,1")
    assert gpus(parallel_runs=2, device=device) == [None, None]


def test_gpus_that_are_hidden_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for hidden, seen in (("", [None, None]), ("-1", [None, None]), ("1,-1,0", ["1", "1"])):
        monkeypatch.setenv(GPUS, hidden)
        assert gpus(parallel_runs=2) == seen


@given(st.integers(1, 200))
def test_the_cores_are_divided_and_each_worker_has_one(workers: int) -> None:
    taken = [int(seat.environment[THREADS]) for seat in allocate(Runtime(parallel_runs=workers))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert len(taken) == workers and min(taken) >= 1
    assert sum(taken) <= max(cores, workers) and cores - sum(taken) < workers


def test_threads_that_are_said_are_not_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    assert THREADS not in allocate(Runtime(parallel_runs=2, num_threads=4))[0].environment, (
        "runtime.num_threads reaches torch itself"
    )
    monkeypatch.setenv(THREADS, "3")
    assert THREADS not in allocate(Runtime(parallel_runs=2))[0].environment
