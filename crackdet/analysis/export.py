"""The summary as files and tables for other programs; docs/summary.md describes the fields."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crackdet.analysis.rows import RunRow, differing_keys
from crackdet.core.console import sanitize
from crackdet.core.files import write_csv, write_json
from crackdet.store.pointing import POINTING_COLUMNS

if TYPE_CHECKING:
    import pandas

    from crackdet.analysis.comparison import Combination
    from crackdet.analysis.decision import Decision
    from crackdet.analysis.ranking import Summary

SCHEMA = 3  # raised if a field changes its meaning or is removed; new fields do not raise it
MEASURED = (
    "accuracy", "loss", "precision", "recall", "f1", "roc_auc", "average_precision", "calibration_error",
    "knn_accuracy", "logme", "epoch", "epochs", "parameters", "feature_parameters", "feature_flops", "detector_flops",
    "license", "seconds", "images_per_second", "latency_ms", "throughput", "latency_spread_ms", "feature_latency_ms",
    "feature_throughput", "feature_latency_spread_ms", "peak_memory_mib", "weights_mib", "valid_images",
    "valid_digest",
)  # fmt: skip


def rows(summary: "Summary") -> list[dict[str, Any]]:
    """Return a dict for each run, by rank."""
    found: list[dict[str, Any]] = []
    for ranking, decision in zip(summary.rankings, summary.decisions, strict=True):
        found += [_row(row, rank, decision) for rank, row in enumerate(ranking, 1)]
    return found + [_row(row, None, None) for row in summary.unranked]


def content(summary: "Summary", directory: Path) -> dict[str, Any]:
    """Return the content of a `summary.json` in this folder."""
    return {
        "schema": SCHEMA,
        "store": os.path.relpath(summary.store, directory),
        "metric": summary.metric,
        "best": summary.best.id if summary.best else None,
        "decisions": [_decision(decision) for decision in summary.decisions],
        "runs": rows(summary),
    }


def write(summary: "Summary", directory: Path) -> None:
    """Write `summary.json` and `summary.csv`."""
    plain = content(summary, directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "summary.json", plain)
    if plain["runs"]:
        cells = ({key: _cell(value) for key, value in row.items()} for row in _flat(summary, plain["runs"]))
        write_csv(directory / "summary.csv", list(cells))


def to_pandas(summary: "Summary") -> "pandas.DataFrame":
    """Return a row for each run, with the settings in which the runs differ as columns, by dotted key.

    Raises:
        UserError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        from crackdet.core.errors import UserError

        raise UserError("pandas is not installed: uv pip install -e '.[pandas]'") from None
    return pandas.DataFrame(_flat(summary, rows(summary)))


def _flat(summary: "Summary", plain: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join lists to text and add the settings in which the runs differ."""
    keys = differing_keys(summary)
    return [
        {**fields, "overrides": " ".join(fields["overrides"]), **{key: row.setting(key) for key in keys}}
        for fields, row in zip(plain, summary, strict=True)
    ]


def _cell(value: Any) -> Any:
    """Return a value as a cell; text that a spreadsheet would evaluate as a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = sanitize(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _row(row: RunRow, rank: int | None, decision: "Decision | None") -> dict[str, Any]:
    result, weights = row.result, row.run.weights_file
    return {
        "rank": rank,
        "id": row.id,
        "status": str(row.status),
        "overrides": list(row.overrides),
        **{name: result.get(name) for name in MEASURED},
        **{name: row.pointing.get(name) for name in POINTING_COLUMNS},
        **_ranked(row, decision),
        "checkpoint": f"{row.id}/{weights.name}" if row.run.has_weights else None,
        "reason": row.reason or None,
    }


def _ranked(row: RunRow, decision: "Decision | None") -> dict[str, Any]:
    if decision is None:
        return dict.fromkeys(("low", "high", "p_value", "equivalent", "recommended", "verdict"))
    ranked = decision.ranked(row)
    return {
        **ranked.interval._asdict(),
        "p_value": ranked.p_value,
        "equivalent": ranked.undecided and not decision.is_at_chance(row),
        "recommended": decision.is_recommended(row),
        "verdict": ", ".join(decision.verdicts(row)) or None,
    }


def _decision(decision: "Decision") -> dict[str, Any]:
    difference = decision.difference(decision.recommended) if decision.best_is_above_chance else None
    return {
        "metric": decision.metric,
        "valid_images": decision.num_images,
        "valid_digest": decision.best.result["valid_digest"],
        "groups": decision.num_groups,
        "best": decision.best.id,
        "recommended": decision.recommended.id if decision.best_is_above_chance else None,
        "equivalent": [run.row.id for run in decision.undecided],
        "gap": None if difference is None else difference._asdict(),
        "learned": decision.best_is_above_chance,
        "baseline": decision.baseline,
        "selection_bias": decision.selection_bias,
        "sentences": list(decision.sentences),
        "notes": decision.notes,
        "combinations": [_combination(one) for one in decision.combinations] if decision.replicated else None,
    }


def _combination(one: "Combination") -> Mapping[str, Any]:
    return {
        "runs": [row.id for row in one.rows],
        "settings": one.settings,
        "n": len(one.rows),
        "mean": one.mean,
        "deviation": one.deviation,
        **one.interval._asdict(),
        "p_value": one.p_value,
        "equivalent": one.undecided,
    }
