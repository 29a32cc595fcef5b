"""The summary as files and tables for other programs; what each field means stands in docs/summary.md."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crackdet.analysis.rows import RunRow, differing_keys
from crackdet.core.files import write_csv, write_json
from crackdet.store.pointing import NUMBERS

if TYPE_CHECKING:
    import pandas

    from crackdet.analysis.decision import Combination, Decision
    from crackdet.analysis.ranking import Summary
    from crackdet.metrics.statistics import Interval

SCHEMA = 2  # raised when a field changes its meaning or goes; new fields may come without
MEASURED = (
    "accuracy",
    "loss",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "average_precision",
    "calibration_error",
    "epoch",
    "epochs",
    "parameters",
    "feature_flops",
    "seconds",
    "images_per_second",
    "latency_ms",
    "throughput",
    "feature_latency_ms",
    "feature_throughput",
    "peak_memory_mib",
    "weights_mib",
    "valid_images",
    "valid_digest",
)


def rows(summary: "Summary") -> list[dict[str, Any]]:
    """A plain row for each run, the best first."""
    found: list[dict[str, Any]] = []
    for ranking, decision in zip(summary.rankings, summary.decisions, strict=True):
        found += [_row(entry, rank, decision) for rank, entry in enumerate(ranking, 1)]
    return found + [_row(entry, None, None) for entry in summary.unranked]


def write(summary: "Summary", directory: Path) -> None:
    """Writes `summary.json` and `summary.csv`."""
    plain = rows(summary)
    content = {
        "schema": SCHEMA,
        "store": os.path.relpath(summary.store, directory),
        "metric": summary.metric,
        "best": summary.best.id if summary.best else None,
        "decisions": [_decision(decision) for decision in summary.decisions if decision is not None],
        "runs": plain,
    }
    write_json(directory / "summary.json", content)
    if plain:
        write_csv(directory / "summary.csv", _flat(summary, plain))


def to_pandas(summary: "Summary") -> "pandas.DataFrame":
    """A row for each run, with the settings in which runs differ as columns, by their dotted keys.

    Raises:
        UserError: where pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        from crackdet.core.errors import UserError

        raise UserError("pandas is not installed: uv pip install -e '.[pandas]'") from None
    return pandas.DataFrame(_flat(summary, rows(summary)))


def _flat(summary: "Summary", plain: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without lists, and with the settings in which the runs differ."""
    keys = differing_keys(summary.entries)
    return [
        {**row, "overrides": " ".join(row["overrides"]), **{key: entry.setting(key) for key in keys}}
        for row, entry in zip(plain, summary.entries, strict=True)
    ]


def _row(entry: RunRow, rank: int | None, decision: "Decision | None") -> dict[str, Any]:
    result, weights = entry.result, entry.run.weights_file
    return {
        "rank": rank,
        "id": entry.id,
        "status": str(entry.status),
        "overrides": list(entry.overrides),
        **{name: result.get(name) for name in MEASURED},
        **{name: entry.pointing.get(name) for name in NUMBERS},
        **_standing(entry, decision),
        "checkpoint": f"{entry.id}/{weights.name}" if weights.exists() else None,
        "reason": entry.reason or None,
    }


def _standing(entry: RunRow, decision: "Decision | None") -> dict[str, Any]:
    if decision is None:
        return dict.fromkeys(("low", "high", "p_value", "equivalent", "recommended"))
    standing = decision.standing(entry)
    return {
        **_ends(standing.interval),
        "p_value": standing.p_value,
        "equivalent": standing.equivalent,
        "recommended": decision.takes(entry),
    }


def _decision(decision: "Decision") -> dict[str, Any]:
    gap = decision.gap(decision.recommended) if decision.learned else None
    return {
        "metric": decision.metric,
        "valid_images": decision.images,
        "valid_digest": decision.best.result.get("valid_digest"),
        "groups": decision.groups,
        "best": decision.best.id,
        "recommended": decision.recommended.id if decision.learned else None,
        "equivalent": [standing.entry.id for standing in decision.equivalent],
        "gap": None if gap is None else gap._asdict(),
        "learned": decision.learned,
        "baseline": decision.baseline,
        "luck": decision.luck,
        "sentences": list(decision.sentences),
        "notes": decision.notes,
        "combinations": [_combination(one) for one in decision.combinations] if decision.replicated else None,
    }


def _combination(one: "Combination") -> Mapping[str, Any]:
    return {
        "runs": [entry.id for entry in one.entries],
        "settings": one.settings,
        "n": len(one.entries),
        "mean": one.mean,
        "deviation": one.deviation,
        **_ends(one.interval),
        "p_value": one.p_value,
        "equivalent": one.equivalent,
    }


def _ends(interval: "Interval") -> dict[str, float]:
    return {"low": interval.low, "high": interval.high}
