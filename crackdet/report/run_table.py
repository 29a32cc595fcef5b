"""The table of runs: what sets them apart, what they reach, what they cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from crackdet.analysis.decision import Decision
from crackdet.analysis.rows import RunRow, differing_keys, group_by_settings
from crackdet.report.formatting import NOTHING, count, duration, milliseconds, percent, short, short_names, span, text
from crackdet.report.subsample import subsample

MOST = 1000  # rows: a browser sorts them at once, and summary.csv has all


@dataclass(frozen=True)
class Column:
    title: str
    meaning: str
    css: str = ""  # "falling": the largest first, when it is sorted by


@dataclass(frozen=True)
class Row:
    id: str
    css: str
    words: str  # what the filter searches, in lower case
    cells: Sequence[Markup]


@dataclass(frozen=True)
class Table:
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str]


@dataclass(frozen=True)
class Measure:
    """A value of `result.json` and how it is shown."""

    name: str
    title: str
    meaning: str
    show: Callable[[Any], str]
    falling: bool = False
    minor: bool = False  # not printed: paper is narrow

    @property
    def form(self) -> str:
        """Of a value in a figure, in D3's language."""
        return ".2%" if self.show is percent else ".4f"

    @property
    def ticks(self) -> str:
        """Of its values on an axis."""
        return ".4~p" if self.show is percent else ".4~f"

    @property
    def css(self) -> str:
        return "number" + " falling" * self.falling + " minor" * self.minor


def plain_loss(value: float) -> str:
    return f"{value:.4f}"


MEASURES = (
    Measure("accuracy", "accuracy", "share of the validation images judged rightly", percent, True),
    Measure("recall", "recall", "share of the cracks that were found", percent, True),
    Measure("precision", "precision", "share of the alarms that were cracks", percent, True),
    Measure("f1", "F1", "harmonic mean of recall and precision", percent, True, True),
    Measure("roc_auc", "ROC-AUC", "chance that a crack scores above an image without", plain_loss, True, True),
    Measure("loss", "loss", "validation loss, averaged per image", plain_loss, minor=True),
    Measure("parameters", "parameters", "weights of the whole classifier", count),
    Measure("feature_flops", "FLOPs", "operations of the feature extractor for one image", short),
    Measure("feature_latency_ms", "latency", "of the feature extractor, for one image", milliseconds),
    Measure("latency_ms", "latency, whole", "latency of the whole classifier, for one image", milliseconds, minor=True),
    Measure("seconds", "training", "time of training", duration),
    Measure("epoch", "best epoch", "the epoch whose weights are kept", str, minor=True),
)


def measure_of(metric: str) -> Measure:
    """How a ranking metric is shown."""
    return next(measure for measure in MEASURES if measure.name == metric)


def distinguishing_keys(entries: Sequence[RunRow]) -> list[str]:
    """The settings in which runs differ, the seed last, less those of the network that follow from its name."""
    keys = sorted(differing_keys(entries), key=lambda key: (key == "seed", key != "model.name"))
    if "model.name" not in keys:
        return keys
    names = len(group_by_settings(entries, ["model.name"]))

    def tells(key: str) -> bool:
        is_own = key != "model.name" and key.startswith("model.")
        return not is_own or len(group_by_settings(entries, ["model.name", key])) > names

    return [key for key in keys if tells(key)]


def run_table(ranking: Sequence[RunRow], by: Measure, decision: Decision | None, also: Sequence[RunRow]) -> Table:
    """The best runs of a ranking `by` a measure, an even choice of the others, and those of `also`."""
    keys = distinguishing_keys(ranking)
    names = short_names(keys)
    chosen = {entry.id for entry in [*subsample(ranking, MOST), *also]}
    others = [one for one in MEASURES if one != by and any(entry.result.get(one.name) is not None for entry in ranking)]
    columns = [
        Column("rank", f"by validation {by.title}; a tie goes to the cheaper feature extractor", "number"),
        Column("run", "run id"),
        Column(by.title, by.meaning, "number falling"),
    ]
    if decision:
        columns.append(Column("95 % interval", f"of the {by.title} on other images of the same kind", "number"))
    columns += [Column(names[key], key) for key in keys]
    columns += [Column(measure.title, measure.meaning, measure.css) for measure in others]
    rows = [
        _row(rank, entry, names, by, others, decision) for rank, entry in enumerate(ranking, 1) if entry.id in chosen
    ]
    notes = []
    if len(rows) < len(ranking):
        notes.append(
            f"{len(rows):,} of {len(ranking):,} runs are listed: the best {MOST // 2}, an even choice of the "
            "others, and those that are named elsewhere on this page. summary.csv has them all."
        )
    return Table(columns, rows, notes)


def tags(entry: RunRow, decision: Decision | None) -> list[tuple[str, str]]:
    """What the decision says of a run: (class, words)."""
    if decision is None:
        return []
    found = []
    if entry.id == decision.best.id:
        found.append(("best", "highest"))
    if decision.takes(entry):
        found.append(("cheap", "recommended"))
    if not found and decision.standing(entry).equivalent:
        found.append(("equal", "not told from the best"))
    return found


def _row(
    rank: int,
    entry: RunRow,
    names: Mapping[str, str],
    by: Measure,
    others: Sequence[Measure],
    decision: Decision | None,
) -> Row:
    settings = {name: entry.setting(key) for key, name in names.items()}
    told = tags(entry, decision)
    marks = Markup("").join(Markup('<span class="tag {}">{}</span>').format(*tag) for tag in told)
    cells = [
        _cell(str(rank), rank, "rank"),
        Markup('<th scope="row" data-value="{}"><code>{}</code>{}</th>').format(entry.id, entry.id, marks),
    ]
    cells.append(_measured(entry, by))
    if decision:
        low, high = decision.standing(entry).interval
        cells.append(_cell(span(low, high), low, "interval"))
    cells += [_cell(*_setting(value), name, "") for name, value in settings.items()]
    cells += [_measured(entry, measure) for measure in others]
    words = [entry.id, *(f"{name}={text(value)}" for name, value in settings.items() if value is not None)]
    words += [word for _, word in told]
    return Row(entry.id, told[0][0] if told else "", " ".join(words).lower(), cells)


def _measured(entry: RunRow, measure: Measure) -> Markup:
    value = entry.result.get(measure.name)
    return _cell(NOTHING if value is None else measure.show(value), value, measure.name, measure.css)


def _setting(value: Any) -> tuple[str, Any]:
    """As it is shown, and what it is sorted by."""
    if value is None:
        return NOTHING, None
    return text(value), value if isinstance(value, int | float) and not isinstance(value, bool) else text(value)


def _cell(shown: str, value: Any, name: str, css: str = "number") -> Markup:
    kept = "" if value is None else repr(value) if isinstance(value, float) else str(value)
    css = Markup(' class="{}"').format(css) if css else Markup("")
    return Markup('<td{} data-name="{}" data-value="{}">{}</td>').format(css, name, kept, escape(shown))
