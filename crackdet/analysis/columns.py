"""The columns of a table of runs: a title, and the text of each run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crackdet.analysis.differences import value_text
from crackdet.analysis.filters import value_of
from crackdet.analysis.latency import spread_of
from crackdet.analysis.rows import RunRow
from crackdet.core.licenses import license_name
from crackdet.store.pointing import POINTING_COLUMNS

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision

Format = Callable[[Any], str]

DEFAULT_COLUMNS = (  # after accuracy, as many as fit
    "verdict", "interval", "p_value", "feature_flops", "feature_latency_ms", "license", "loss", "seconds", "parameters",
    "epoch",
)  # fmt: skip
SCREEN_COLUMNS = (  # the same, of runs with trainer.probe
    "loss", "knn_accuracy", "logme", "feature_flops", "verdict", "parameters", "interval", "feature_latency_ms",
    "license", "p_value", "seconds",
)  # fmt: skip


def scaled(value: float, units: Sequence[str] = "TGMk", digits: int = 3) -> str:
    """Return `4.13M`; the units are those of 10^12, 10^9, 10^6 and 10^3."""
    for size, unit in zip((1e12, 1e9, 1e6, 1e3), units, strict=True):
        if value >= size:
            return f"{value / size:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def p_value_text(value: float | None) -> str:
    """Return a p-value as text; empty for None."""
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def share(value: float) -> str:
    return f"{value:.4f}"


FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("accuracy", "loss", "precision", "recall", "f1", "roc_auc"), share),
    **dict.fromkeys(("average_precision", "calibration_error", "knn_accuracy", *POINTING_COLUMNS), share),
    **dict.fromkeys(("parameters", "feature_parameters", "feature_flops", "detector_flops", "pointing_images"), scaled),
    "license": license_name,
    "logme": lambda value: f"{value:.3f}",
    "seconds": lambda value: f"{value:.1f}",
}
TITLES = {  # FLOPs and ms are those of the feature extractor, which a detector runs
    "feature_flops": "FLOPs",
    "detector_flops": "FLOPs in a detector",
    "feature_parameters": "backbone parameters",
    "feature_latency_ms": "ms",
    "average_precision": "avg prec",
    "calibration_error": "cal err",
    "knn_accuracy": "k-NN",
    "logme": "LogME",
}


@dataclass(frozen=True)
class Column:
    title: str
    text: Callable[[RunRow], str]
    right: bool = True  # aligned


def value_column(key: str) -> Column:
    """Return the column of a metric or a setting; the text is empty for runs without it."""
    form = FORMATS.get(key, value_text)

    def text(row: RunRow) -> str:
        value = value_of(row, key)
        return "" if value is None else f"{form(value)}{spread_text(row, key)}"

    return Column(TITLES.get(key, key.rpartition(".")[2]), text, right=key != "license")


def usual_columns(decision: "Decision", rows: Sequence[RunRow]) -> dict[str, Column]:
    """Return the usual columns in which a run has a text; a license only if the runs differ in it."""
    own = decision_columns(decision)
    names = SCREEN_COLUMNS if decision.is_screen else DEFAULT_COLUMNS
    columns = {name: own.get(name) or value_column(name) for name in names}
    texts = {name: {column.text(row) for row in rows} for name, column in columns.items()}
    return {
        name: column
        for name, column in columns.items()
        if texts[name] != {""} and not (name == "license" and len(texts[name]) == 1)
    }


def spread_text(row: RunRow, key: str) -> str:
    """Return ` ± 0.2` for a measured time whose measurements differ; empty otherwise."""
    return f" ± {spread:.1g}" if (spread := spread_of(row.result, key)) else ""


def decision_columns(decision: "Decision") -> dict[str, Column]:
    """Return the columns that a decision adds."""

    def interval(row: RunRow) -> str:
        low, high = decision.ranked(row).interval
        return f"{low:.4f}-{high:.4f}"

    return {
        "interval": Column("95 % interval", interval),
        "p_value": Column("p", lambda row: p_value_text(decision.p_value(decision.ranked(row)))),
        "verdict": Column("verdict", lambda row: ", ".join(decision.verdicts(row)), right=False),
    }
