"""The table of runs: settings, metrics and costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from crackdet.analysis.columns import spread_text
from crackdet.analysis.decision import Decision, Verdict
from crackdet.analysis.differences import Differences
from crackdet.analysis.rows import RunRow
from crackdet.core.licenses import license_name
from crackdet.report.formatting import (
    NO_VALUE,
    count,
    duration,
    milliseconds,
    percent,
    short,
    short_names,
    span,
    subsample,
    text,
)

MAX_ROWS = 1000  # a browser sorts them at once; summary.csv has all
VERDICTS = (  # explained above the table
    f"{Verdict.UNDECIDED}: chance can explain the difference from the best. "
    f"{Verdict.CHANCE}: the predictions cannot be distinguished from random ones."
)


@dataclass(frozen=True)
class ReportColumn:
    title: str
    meaning: str
    css: str = ""  # "falling": sorted with the largest value first


@dataclass(frozen=True)
class Row:
    id: str
    css: str
    words: str  # that the filter searches, in lower case
    cells: Sequence[Markup]


@dataclass(frozen=True)
class Measure:
    """A value of `result.json`, and how the page shows it."""

    name: str
    title: str
    meaning: str
    show: Callable[[Any], str]
    falling: bool = False
    minor: bool = False  # not printed, to save width
    is_text: bool = False  # shown only if the runs differ in it

    @property
    def form(self) -> str:
        """The D3 format of a value in a figure."""
        return ".2%" if self.show is percent else ".4f"

    @property
    def ticks(self) -> str:
        """The D3 format of the values on an axis."""
        return ".4~p" if self.show is percent else ".4~f"

    @property
    def css(self) -> str:
        return "number" * (not self.is_text) + " falling" * self.falling + " minor" * self.minor


def decimal(value: float) -> str:
    return f"{value:.4f}"


MEASURES = (
    Measure("license", "license", "of the initial weights", license_name, is_text=True),
    Measure("accuracy", "accuracy", "share of the validation images classified correctly", percent, True),
    Measure("recall", "recall", "share of the cracks that were found", percent, True),
    Measure("precision", "precision", "share of the alarms that were cracks", percent, True),
    Measure("f1", "F1", "harmonic mean of recall and precision", percent, True, True),
    Measure("roc_auc", "ROC-AUC", "probability that a crack scores higher than another image", decimal, True, True),
    Measure("loss", "loss", "validation loss, averaged per image", decimal, minor=True),
    Measure("knn_accuracy", "k-NN", "accuracy of nearest neighbours among the frozen features", percent, True),
    Measure("logme", "LogME", "log evidence of the labels, given the frozen features", decimal, True),
    Measure("parameters", "parameters", "weights of the whole classifier", count),
    Measure("feature_parameters", "backbone parameters", "weights of the feature extractor", count, minor=True),
    Measure("feature_flops", "FLOPs", "operations of the feature extractor per image", short),
    Measure(
        "detector_flops", "FLOPs, detector", "the same for a photograph in FasterRCNN (800 x 1088)", short, minor=True
    ),
    Measure("feature_latency_ms", "latency", "latency of the feature extractor per image", milliseconds),
    Measure("latency_ms", "latency, whole", "latency of the whole classifier per image", milliseconds, minor=True),
    Measure("seconds", "training", "training time", duration),
    Measure("epoch", "best epoch", "the epoch whose weights are kept", str, minor=True),
)


def measure_of(metric: str) -> Measure:
    """Return the measure of a ranking metric."""
    return next(measure for measure in MEASURES if measure.name == metric)


def run_table(
    ranking: Sequence[RunRow], by: Measure, decision: Decision, always: Sequence[RunRow]
) -> dict[str, Sequence[Any]]:
    """Return columns, rows and notes of a ranking: the best runs, an even choice of the others, and `always`."""
    keys = Differences(ranking).keys
    names = short_names(keys)
    shown = {row.id for row in [*subsample(ranking, MAX_ROWS), *always]}
    others = [one for one in MEASURES if one != by and _is_shown(one, ranking)]
    columns = [
        ReportColumn("rank", f"by validation {by.title}; ties go to the cheaper feature extractor", "number"),
        ReportColumn(by.title, by.meaning, "number falling"),  # early, so that a phone shows it
        ReportColumn("run", "run id and verdict"),
        ReportColumn("95 % interval", f"of the {by.title} on other images of the same kind", "number"),
        *(ReportColumn(names[key], key) for key in keys),
        *(ReportColumn(measure.title, measure.meaning, measure.css) for measure in others),
    ]
    rows = [_row(rank, row, names, [by, *others], decision) for rank, row in enumerate(ranking, 1) if row.id in shown]
    notes = []
    if any(tag in (Verdict.UNDECIDED, Verdict.CHANCE) for row in rows for tag in row.css.split()):
        notes.append(VERDICTS)
    if len(rows) < len(ranking):
        notes.append(
            f"{len(rows):,} of {len(ranking):,} runs are listed: the best {MAX_ROWS // 2}, an even choice of the "
            "others, and the runs that this page names elsewhere. summary.csv lists them all."
        )
    return {"columns": columns, "rows": rows, "notes": notes}


def _is_shown(measure: Measure, ranking: Sequence[RunRow]) -> bool:
    values = {row.result.get(measure.name) for row in ranking}
    return len(values) > 1 if measure.is_text else values != {None}


def _row(rank: int, row: RunRow, names: Mapping[str, str], measures: Sequence[Measure], decision: Decision) -> Row:
    settings = {name: row.setting(key) for key, name in names.items()}
    tags = decision.verdicts(row)
    low, high = decision.ranked(row).interval
    by, *others = (_measured(row, measure) for measure in measures)
    marks = Markup("").join(Markup('<span class="tag {}">{}</span>').format(tag, tag) for tag in tags)
    cells = [
        _cell(str(rank), rank, "rank"),
        by,
        Markup('<th scope="row" data-value="{}"><code>{}</code>{}</th>').format(row.id, row.id, marks),
        _cell(span(low, high), low, "interval"),
        *(_cell(*_setting(value), name, "") for name, value in settings.items()),
        *others,
    ]
    words = [row.id, *(f"{name}={text(value)}" for name, value in settings.items() if value is not None), *tags]
    return Row(row.id, " ".join(tags), " ".join(words).lower(), cells)


def _measured(row: RunRow, measure: Measure) -> Markup:
    value = row.result.get(measure.name)
    shown = NO_VALUE if value is None else measure.show(value) + spread_text(row, measure.name)
    return _cell(shown, value, measure.name, measure.css)


def _setting(value: Any) -> tuple[str, Any]:
    """Return the text of a setting, and the value it is sorted by."""
    if value is None:
        return NO_VALUE, None
    return text(value), value if isinstance(value, int | float) and not isinstance(value, bool) else text(value)


def _cell(shown: str, value: Any, name: str, css: str = "number") -> Markup:
    kept = "" if value is None else repr(value) if isinstance(value, float) else str(value)
    css = Markup(' class="{}"').format(css) if css else Markup("")
    return Markup('<td{} data-name="{}" data-value="{}">{}</td>').format(css, name, kept, escape(shown))
