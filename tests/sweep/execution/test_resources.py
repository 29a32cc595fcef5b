"""GPUs and cores are divided among workers; environment variables stand for the hardware."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdet.config.schema import Runtime
from crackdet.sweep.execution import resources
from crackdet.sweep.execution.resources import NUM_THREADS, VISIBLE_GPUS, allocate, describe


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NUM_THREADS, raising=False)
    monkeypatch.setenv(VISIBLE_GPUS, "")


def gpus(**settings: object) -> list[str | None]:
    return [worker.environment.get(VISIBLE_GPUS) for worker in allocate(Runtime(**settings))]  # type: ignore[arg-type]


def test_each_worker_gets_one_of_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE_GPUS, "3, GPU-8f2e,5")
    assert gpus(parallel_runs=3) == ["3", "GPU-8f2e", "5"]
    assert gpus(parallel_runs=4, device="cuda") == ["3", "GPU-8f2e", "5", "3"], "two workers share the first"
    assert describe(allocate(Runtime(parallel_runs=2))) == "2 workers, GPUs 3, GPU-8f2e"


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_no_gpu_is_allocated_if_the_device_is_named(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setenv(VISIBLE_GPUS, "0,1")
    assert gpus(parallel_runs=2, device=device) == [None, None]


@pytest.mark.parametrize(("visible", "expected"), [("", [None, None]), ("-1", [None, None]), ("1,-1,0", ["1", "1"])])
def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str | None]) -> None:
    monkeypatch.setenv(VISIBLE_GPUS, visible)
    assert gpus(parallel_runs=2) == expected


@given(num_workers=st.integers(1, 200), num_cores=st.integers(1, 256))
def test_the_cores_are_divided_and_each_worker_has_one(num_workers: int, num_cores: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resources, "num_cores", lambda: num_cores)
        workers = allocate(Runtime(parallel_runs=num_workers))
    threads = [int(worker.environment[NUM_THREADS]) for worker in workers]
    assert [worker.number for worker in workers] == list(range(1, num_workers + 1)) and min(threads) >= 1
    assert sum(threads) <= max(num_cores, num_workers) and num_cores - sum(threads) < num_workers


def test_a_given_number_of_threads_is_not_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NUM_THREADS not in allocate(Runtime(parallel_runs=2, num_threads=4))[0].environment, (
        "torch gets runtime.num_threads from the run"
    )
    monkeypatch.setenv(NUM_THREADS, "3")
    assert NUM_THREADS not in allocate(Runtime(parallel_runs=2))[0].environment
