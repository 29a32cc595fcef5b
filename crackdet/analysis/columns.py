"""What a table of runs can show, and how: each column is a title and a text for a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crackdet.analysis.filters import value_of
from crackdet.analysis.rows import RunRow, group_by_settings
from crackdet.store.pointing import NUMBERS

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision

Format = Callable[[Any], str]


def count(value: float) -> str:
    """`4.13M`: thousands, millions, billions by their letter."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def value_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and "/" in value:
        return value.rpartition("/")[2] or value  # of a path what tells it
    return "[" + ",".join(map(value_text, value)) + "]" if isinstance(value, list) else str(value)


def chance_text(value: float | None) -> str:
    """A p-value; empty where there is none."""
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def share(value: float) -> str:
    return f"{value:.4f}"


FORMATS: Mapping[str, Format] = {
    **dict.fromkeys(("accuracy", "loss", "precision", "recall", "f1", "roc_auc"), share),
    **dict.fromkeys(("average_precision", "calibration_error", *NUMBERS), share),
    **dict.fromkeys(("parameters", "feature_flops", "pointing_images"), count),
    "seconds": lambda value: f"{value:.1f}",
}
TITLES = {"feature_flops": "FLOPs", "latency_ms": "ms", "average_precision": "avg prec", "calibration_error": "cal err"}


@dataclass(frozen=True)
class Column:
    title: str
    text: Callable[[RunRow], str]
    right: bool = True  # aligned


def figure(key: str) -> Column:
    """A column of a figure or a setting; empty where a run does not have it."""
    form = FORMATS.get(key, value_text)

    def text(entry: RunRow) -> str:
        value = value_of(entry, key)
        return "" if value is None else form(value)

    return Column(TITLES.get(key, key.rpartition(".")[2]), text)


def of_decision(decision: "Decision") -> dict[str, Column]:
    """The columns that a decision adds."""

    def interval(entry: RunRow) -> str:
        low, high = decision.standing(entry).interval
        return f"{low:.4f}-{high:.4f}"

    return {
        "interval": Column("95 % interval", interval),
        "p_value": Column("p", lambda entry: chance_text(decision.standing(entry).p_value)),
        "verdict": Column("verdict", lambda entry: verdict(decision, entry), right=False),
    }


def verdict(decision: "Decision", entry: RunRow) -> str:
    """`best`, `take`, or `equal` where chance does not tell the run from the best."""
    words = ["best"] if entry.id == decision.best.id else []
    if decision.takes(entry):
        words.append("take")
    if words:
        return ", ".join(words)
    return "equal" if decision.standing(entry).equivalent else ""


def describe(entry: RunRow, keys: Sequence[str]) -> str:
    """What sets a run apart: `conv_out=[64,128] seed=1`."""
    keys = [key for key in keys if key != "model.name"]  # the run id says it
    short = {key: key.rpartition(".")[2].strip("_") for key in keys}  # `source` and `weights` of those we know besides
    clear = {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}
    return " ".join(
        f"{clear[key]}={value_text(value)}" for key in keys if (value := entry.settings.get(key)) is not None
    )


def distinguishing_keys(ranking: Sequence[RunRow], keys: Sequence[str]) -> dict[str, list[str]]:
    """For each network's name the keys that tell its runs apart: what all runs of a network share, its name says."""
    asked = [key for key in keys if key.startswith("model.")]
    values: dict[str, dict[str, set[str]]] = {}
    for settings, places in group_by_settings(ranking, asked):
        for name in {ranking[place].id.rpartition("-")[0] for place in places}:
            own = values.setdefault(name, {key: set() for key in asked})
            for key, value in zip(asked, settings, strict=True):
                own[key].add(repr(value))
    return {name: [key for key in keys if key not in own or len(own[key]) > 1] for name, own in values.items()}
