"""Latency over several runs of one network: all of them get the fastest measurement and its uncertainty."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

SPREADS = {"latency_ms": "latency_spread_ms", "feature_latency_ms": "feature_latency_spread_ms"}
NOT_ARCHITECTURE = ("weights", "freeze_features", "batchnorm", "input_mean", "input_std")  # settings of a network
MACHINE = ("device", "gpu", "processor", "number_format")  # fields of a result

Result = Mapping[str, Any]


def pool_latencies(results: Sequence[Result]) -> list[Result]:
    """Return results in which the runs of one network, image size and machine have one latency.

    This latency is the fastest measurement; the others were delayed. The spread is the difference from the second
    fastest measurement plus the spread of that one, because a single run may have been fast by chance. Results
    without a spread, which earlier versions wrote, are not changed.
    """
    pooled = list(results)
    for name, spread in SPREADS.items():
        groups: dict[str, list[int]] = defaultdict(list)
        for index, result in enumerate(results):
            if result.get(name) is not None and result.get(spread) is not None:
                groups[_key(result, name)].append(index)
        for indices in groups.values():
            fastest = min(float(results[index][name]) for index in indices)
            sure = sorted(float(results[index][name]) + float(results[index][spread]) for index in indices)[:2][-1]
            one = {name: fastest, spread: float(f"{sure - fastest:.4g}")}
            for index in indices:
                if any(pooled[index][key] != value for key, value in one.items()):
                    pooled[index] = {**pooled[index], **one}
    return pooled


def spread_of(result: Result, name: str) -> float:
    """Return how uncertain a value of a result is: 0 for values that are not measured in time."""
    return float(result.get(SPREADS.get(name, ""), None) or 0.0)


def _key(result: Result, name: str) -> str:
    settings = result.get("settings") or {}
    model = {key: value for key, value in settings.get("model", {}).items() if key not in NOT_ARCHITECTURE}
    if name == "feature_latency_ms":
        model.pop("linear_features", None)
    size = settings.get("data", {}).get("image_size")
    return repr((sorted(model.items()), size, [result.get(field) for field in MACHINE]))
