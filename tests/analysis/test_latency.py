"""Latency of several runs of one network: one value for all, with its spread."""

from typing import Any

import pytest

from crackdet.analysis.latency import pool_latencies, spread_of


def result(latency: float, spread: float | None = 0.1, **changes: Any) -> dict[str, Any]:
    model = {"name": "custom", "conv_out": [4], "linear_features": 8, "weights": None} | changes.pop("model", {})
    fields = {"latency_ms": latency, "feature_latency_ms": latency / 2, "device": "cpu", "processor": "one"}
    spreads = {} if spread is None else {"latency_spread_ms": spread, "feature_latency_spread_ms": spread / 2}
    return {**fields, **spreads, "settings": {"model": model, "data": {"image_size": 64}}, **changes}


def latencies(*results: dict[str, Any]) -> list[tuple[float, Any]]:
    return [(float(one["latency_ms"]), spread_of(one, "latency_ms")) for one in pool_latencies(results)]


def test_all_runs_of_a_network_have_the_fastest_measurement() -> None:
    assert latencies(result(52.5), result(2.7), result(16.7), result(2.8)) == [(2.7, pytest.approx(0.2))] * 4


def test_a_network_that_was_fast_only_once_is_uncertain() -> None:
    assert latencies(result(52.5), result(2.7), result(16.7)) == [(2.7, pytest.approx(14.1))] * 3


def test_a_single_run_keeps_its_measurement() -> None:
    assert latencies(result(2.7, 0.3)) == [(2.7, pytest.approx(0.3))]


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"conv_out": [8]}},
        {"processor": "two"},
        {"device": "cuda"},
        {"number_format": "bf16"},
        {"settings": {"model": {"name": "custom"}, "data": {"image_size": 32}}},
    ],
)
def test_runs_of_another_network_or_machine_are_not_pooled(other: dict[str, Any]) -> None:
    assert latencies(result(3.0), result(1.0, **other)) == [(3.0, 0.1), (1.0, 0.1)]


def test_settings_that_do_not_change_the_network_do_not_separate_runs() -> None:
    one, other = result(3.0), result(1.0, model={"weights": "sha256", "freeze_features": True})
    assert [value for value, _ in latencies(one, other)] == [1.0, 1.0]


def test_the_width_of_the_classifier_does_not_separate_feature_extractors() -> None:
    pooled = pool_latencies([result(3.0), result(1.0, model={"linear_features": 16})])
    assert [one["latency_ms"] for one in pooled] == [3.0, 1.0]
    assert [one["feature_latency_ms"] for one in pooled] == [0.5, 0.5]


def test_results_of_earlier_versions_are_left_as_they_are() -> None:
    old = result(52.5, None)
    assert pool_latencies([old, result(2.7), {}]) == [old, result(2.7), {}]
    assert spread_of(old, "latency_ms") == spread_of(old, "accuracy") == 0
