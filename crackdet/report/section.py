"""One ranking as a section of the page: the runs with the same validation images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from crackdet.analysis.comparison import Combination
from crackdet.analysis.decision import Decision, Verdict
from crackdet.analysis.importance import MIN_TRIALS, importances
from crackdet.analysis.rows import RunRow
from crackdet.report import figures
from crackdet.report.curves import Curve, learning_curves
from crackdet.report.figures import BEST, COST_AXES, OTHER, RECOMMENDED, UNDECIDED, Marker, pareto
from crackdet.report.formatting import (
    caption,
    duration,
    milliseconds,
    percent,
    short,
    short_names,
    span,
    subsample,
    text,
)
from crackdet.report.galleries import TOP_RUNS, Gallery, GalleryBuilder
from crackdet.report.predictions import Confusion, confusion
from crackdet.report.run_table import Measure, Table, distinguishing_keys, measure_of, run_table
from crackdet.store.predictions import read_predictions

MAX_POINTS = 2000  # in a cost figure
MAX_LINES = 500  # in the parallel coordinates
MAX_COMBINATIONS = 30
DEVICE_NAMES = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}


@dataclass(frozen=True)
class PageFigure:
    """A figure with its title and a description for screen readers."""

    id: str
    title: str
    alt: str
    figure: go.Figure


@dataclass(frozen=True)
class Card:
    """A run of the decision with its figures."""

    title: str
    css: str
    id: str
    settings: str
    value: float  # of the ranking metric
    interval: str
    facts: Sequence[tuple[str, str, str, Any]]  # name, text, key in `result.json`, value


@dataclass(frozen=True)
class CombinationRow:
    name: str
    n: int
    mean: float
    sd: float | None
    interval: str


@dataclass(frozen=True)
class Matrix:
    title: str
    id: str
    counts: Confusion


@dataclass(frozen=True)
class Section:
    id: str
    heading: str
    by: Measure  # that ranks the runs
    table: Table
    sentences: Sequence[str]
    decision_notes: Sequence[str]
    cards: Sequence[Card]
    combinations: Sequence[CombinationRow]
    devices: str
    costs: Sequence[PageFigure]
    figure_notes: Sequence[str]
    curves: Sequence[PageFigure]
    curve_legend: Sequence[tuple[str, str]]  # colour, combination
    drivers: Sequence[PageFigure]
    importance: Sequence[tuple[str, float]]
    no_importance: str
    confusions: Sequence[Matrix]
    hardest: Gallery
    disagreements: Gallery | None

    @property
    def links(self) -> list[tuple[str, str]]:
        """The id and title of each subsection."""
        subsections = (
            ("decision", "Decision", True), ("table", "All runs", True), ("cost", "Cost", True),
            ("curves", "Learning curves", True), ("drivers", "Influence of settings", bool(self.drivers)),
            ("confusion", "Errors by class", bool(self.confusions)), ("hardest", "Hardest images", True),
            ("disagreements", "Disagreements", self.disagreements is not None),
        )  # fmt: skip
        return [(f"{self.id}-{name}", title) for name, title, there in subsections if there]

    @property
    def figures(self) -> list[PageFigure]:
        return [*self.costs, *self.curves, *self.drivers]


def build_section(number: int, ranking: Sequence[RunRow], metric: str, decision: Decision | None) -> Section:
    """Return the section of a ranking."""
    name, by = f"section{number}", measure_of(metric)
    keys = distinguishing_keys(ranking)
    labels = {row.id: describe(row, keys) for row in ranking}
    without_seed = {row.id: describe(row, [key for key in keys if key != "seed"]) for row in ranking}
    recommended = decision.recommended if decision else ranking[0]
    heads = _heads(ranking[0], recommended, by, decision is None or decision.learned)
    curves = learning_curves(ranking, without_seed, len(figures.COLOURS))
    costs, front = _costs(name, ranking, by, decision, labels)
    predictions = {row.id: read_predictions(row.run) for _, _, row in heads}
    galleries = GalleryBuilder(recommended)
    result = ranking[0].result
    return Section(
        id=name,
        heading=f"On {result.get('valid_images')} validation images ({str(result.get('valid_digest'))[:8]})",
        by=by,
        table=run_table(ranking, by, decision, [*front, recommended]),
        sentences=decision.sentences if decision else (f"{ranking[0].id} has the highest {by.title}.",),
        decision_notes=decision.notes if decision else ["The results are too old to compare the runs."],
        cards=[_card(title, css, row, labels[row.id], by, decision) for title, css, row in heads],
        combinations=_combinations(decision, without_seed),
        devices=_devices(ranking),
        costs=costs,
        figure_notes=[note for note in (caption(min(len(ranking), MAX_POINTS), len(ranking)),) if note],
        curves=_curves(name, curves, len(ranking)),
        curve_legend=list({curve.name: (figures.curve_colour(curve), curve.name) for curve in curves}.values()),
        drivers=_drivers(name, ranking, by, keys),
        importance=list(_importance(ranking, by, keys).items()),
        no_importance=f"At least {MIN_TRIALS} runs with different settings are needed to tell which settings matter."
        if len(ranking) < MIN_TRIALS
        else "No setting has several runs for each of several values, so none can be distinguished from chance.",
        confusions=[
            Matrix(title, row.id, confusion(found)) for title, _, row in heads if (found := predictions[row.id])
        ],
        hardest=galleries.hardest(predictions[recommended.id]),
        disagreements=galleries.disagreements(ranking[:TOP_RUNS]),
    )


def describe(row: RunRow, keys: Sequence[str]) -> str:
    """Return the settings of a run as text: `custom conv_out=[64,128] seed=1`."""
    names = short_names(keys)
    words = [f"{names[key]}={text(value)}" for key in keys if (value := row.setting(key)) is not None]
    named = [word.partition("=")[2] if word.startswith("network=") else word for word in words]
    return " ".join(named) or str(row.setting("model.name"))


def _heads(best: RunRow, recommended: RunRow, by: Measure, learned: bool) -> list[tuple[str, str, RunRow]]:
    """Return title, CSS class and run of each card."""
    highest = f"Highest {by.title}"
    if best.id == recommended.id:
        return [(f"{highest}, and recommended" if learned else highest, "best", best)]
    return [(highest, "best", best), ("Recommended", "recommended", recommended)]


def _card(title: str, css: str, row: RunRow, label: str, by: Measure, decision: Decision | None) -> Card:
    result = row.result
    interval = ""
    if decision:
        low, high = decision.ranked(row).interval
        interval = f"between {percent(low, 1)} and {percent(high, 1)} on other images of the same kind (95 %)"
    shown = (
        ("accuracy", percent, "accuracy"), ("recall", percent, "recall"), ("precision", percent, "precision"),
        ("latency of the features", milliseconds, "feature_latency_ms"),
        ("FLOPs of the features", short, "feature_flops"), ("parameters", short, "parameters"),
        ("training", duration, "seconds"),
    )  # fmt: skip
    facts = [(name, show(result[key]), key, result[key]) for name, show, key in shown
             if key != by.name and result.get(key) is not None]  # fmt: skip
    return Card(title, css, row.id, label, row.value(by.name), interval, facts)


def _combinations(decision: Decision | None, names: Mapping[str, str]) -> list[CombinationRow]:
    """Return the best combinations if there are replicates."""
    if decision is None or not decision.replicated:
        return []

    def row(one: Combination) -> CombinationRow:
        return CombinationRow(names[one.rows[0].id], len(one.rows), one.mean, one.deviation, span(*one.interval))

    return [row(one) for one in decision.combinations[:MAX_COMBINATIONS]]


def _devices(ranking: Sequence[RunRow]) -> str:
    names = {str(row.result.get("gpu") or row.result.get("device")) for row in ranking}
    devices = sorted(DEVICE_NAMES.get(name, name) for name in names)
    if len(devices) > 1:
        return f"Caution: times were measured on different devices ({', '.join(devices)}) and cannot be compared."
    return f"Times were measured on the {devices[0]} that trained the runs."


def _costs(
    name: str, ranking: Sequence[RunRow], by: Measure, decision: Decision | None, labels: Mapping[str, str]
) -> tuple[list[PageFigure], list[RunRow]]:
    """Return the cost figures, and the runs on their Pareto fronts."""
    found, on_front = [], {}
    for axis in COST_AXES:
        rows = [row for row in ranking if row.result.get(axis.name) is not None]
        if not rows:
            continue
        front = [rows[i] for i in pareto([(float(row.result[axis.name]), row.value(by.name)) for row in rows])]
        on_front.update({row.id: row for row in front})
        always = {row.id for row in front} | ({decision.recommended.id} if decision else set())
        shown = {row.id for row in subsample(rows, MAX_POINTS)} | always
        runs = [(row, _marker(row, ranking[0], decision)) for row in rows if row.id in shown]
        alt = (
            f"{len(rows):,} run{'s' * (len(rows) > 1)}. The cheapest, {front[0].id}, reaches "
            f"{by.show(front[0].value(by.name))}"
        )
        if len(front) > 1:
            best = by.show(front[-1].value(by.name))
            alt += f"; along the Pareto front of {len(front)} runs, {by.title} rises to {best}."
        else:
            alt += ", and no run reaches more." if len(rows) > 1 else "."
        found.append(PageFigure(f"{name}-{axis.name}", axis.title, alt, figures.cost_figure(runs, by, axis, labels)))
    return found, list(on_front.values())


def _marker(row: RunRow, best: RunRow, decision: Decision | None) -> Marker:
    if row.id == best.id:
        return BEST
    verdicts = decision.verdicts(row) if decision else []
    if Verdict.RECOMMENDED in verdicts:
        return RECOMMENDED
    return UNDECIDED if Verdict.UNDECIDED in verdicts else OTHER


def _curves(name: str, curves: Sequence[Curve], total: int) -> list[PageFigure]:
    found = []
    for column, title, share in (("accuracy", "Accuracy by epoch", True), ("loss", "Loss by epoch", False)):
        figure = figures.curves_figure(curves, column, column, share)
        alt = f"The histories of {len(curves)} runs. {caption(len(curves), total)}".strip()
        found.append(PageFigure(f"{name}-curves-{column}", title, alt, figure))
    return found


def _drivers(name: str, ranking: Sequence[RunRow], by: Measure, keys: Sequence[str]) -> list[PageFigure]:
    if not keys or len(ranking) < 2:
        return []
    shown = subsample(ranking, MAX_LINES)
    alt = (
        f"Each line is a run, from its settings on the left to its {by.title} on the right. The colour goes from "
        f"orange for the lowest {by.title} to blue for the highest. Drag along an axis to select runs. "
        f"{caption(len(shown), len(ranking))}"
    )
    figure = figures.parallel_figure(shown, by, short_names(keys))
    return [PageFigure(f"{name}-parallel", f"Settings and {by.title} of each run", alt.strip(), figure)]


def _importance(ranking: Sequence[RunRow], by: Measure, keys: Sequence[str]) -> dict[str, float]:
    """Return the share of the measure's variance that each setting explains alone."""
    names = short_names(keys)
    trials = [
        {names[key]: value if isinstance(value, int | float) else text(value)
         for key in keys if (value := row.setting(key)) is not None}
        for row in ranking
    ]  # fmt: skip
    return importances(trials, [row.value(by.name) for row in ranking])
