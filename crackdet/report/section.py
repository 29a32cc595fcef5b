"""One ranking as a part of the page: the runs that were judged on the same validation images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from crackdet.analysis.decision import Combination, Decision
from crackdet.analysis.importance import FEWEST, importances
from crackdet.analysis.rows import RunRow
from crackdet.report import figures
from crackdet.report.curves import Curve, learning_curves
from crackdet.report.figures import BEST, CHEAP, COSTS, EQUAL, OTHER, Kind, pareto
from crackdet.report.formatting import duration, milliseconds, percent, short, short_names, span, text
from crackdet.report.galleries import TOP_RUNS, Gallery, GalleryBuilder
from crackdet.report.predictions import Confusion, confusion
from crackdet.report.run_table import Measure, Table, distinguishing_keys, measure_of, run_table
from crackdet.report.subsample import caption, subsample
from crackdet.store.predictions import read_predictions

MOST_POINTS = 2000  # in a figure of costs
MOST_LINES = 500  # through parallel coordinates
MOST_COMBINATIONS = 30
MEASURED_ON = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}


@dataclass(frozen=True)
class Drawing:
    """A figure and its place on the page."""

    id: str
    title: str
    alt: str
    figure: go.Figure
    css: str = ""


@dataclass(frozen=True)
class Card:
    title: str
    css: str
    id: str
    settings: str
    value: float  # of what runs are ranked by
    interval: str
    facts: Sequence[tuple[str, str, str, Any]]  # name, as shown, key of `result.json`, its value


@dataclass(frozen=True)
class Row:
    """A combination of settings over its seeds."""

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


@dataclass
class Section:
    id: str
    heading: str
    by: Measure  # what the runs are ranked by
    table: Table
    sentences: Sequence[str]
    decision_notes: Sequence[str]
    cards: Sequence[Card]
    combinations: Sequence[Row]
    devices: str
    costs: Sequence[Drawing]
    figure_notes: Sequence[str]
    curves: Sequence[Drawing]
    curve_legend: Sequence[tuple[str, str]]  # colour, combination
    drivers: Sequence[Drawing]
    importance: Sequence[tuple[str, float]]
    no_importance: str
    confusions: Sequence[Matrix]
    hardest: Gallery
    divided: Gallery | None
    sections: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        given = (
            ("decision", "Decision", True), ("table", "All runs", True), ("cost", "Cost", True),
            ("curves", "Learning curves", True), ("drivers", "What drove it", bool(self.drivers)),
            ("confusion", "By class", bool(self.confusions)), ("hardest", "Hardest images", True),
            ("divided", "Disagreement", self.divided is not None),
        )  # fmt: skip
        self.sections = [(f"{self.id}-{name}", title) for name, title, there in given if there]

    @property
    def drawings(self) -> list[Drawing]:
        return [*self.costs, *self.curves, *self.drivers]


def build(number: int, ranking: Sequence[RunRow], metric: str, decision: Decision | None) -> Section:
    """All that the page says of a ranking by a metric."""
    name, by = f"part{number}", measure_of(metric)
    keys = distinguishing_keys(ranking)
    labels = {entry.id: describe(entry, keys) for entry in ranking}
    without_seed = {entry.id: describe(entry, [key for key in keys if key != "seed"]) for entry in ranking}
    chosen = decision.recommended if decision else ranking[0]
    heads = _heads(ranking[0], chosen, by, decision is None or decision.learned)
    curves = learning_curves(ranking, without_seed, len(figures.COLOURS))
    costs, fronts = _costs(name, ranking, by, decision, labels)
    predictions = {entry.id: read_predictions(entry.run) for _, _, entry in heads}
    gallerist = GalleryBuilder(chosen)
    shares = _importance(ranking, by, keys)
    images = ranking[0].result.get("valid_images")
    return Section(
        id=name,
        heading=f"On {images} validation images ({str(ranking[0].result.get('valid_digest'))[:8]})",
        by=by,
        table=run_table(ranking, by, decision, [*fronts, chosen]),
        sentences=decision.sentences if decision else (f"{ranking[0].id} has the highest {by.title}.",),
        decision_notes=decision.notes if decision else ["The results do not say more than this."],
        cards=[_card(title, css, entry, labels[entry.id], by, decision) for title, css, entry in heads],
        combinations=_combinations(decision, without_seed),
        devices=_devices(ranking),
        costs=costs,
        figure_notes=[note for note in (caption(min(len(ranking), MOST_POINTS), len(ranking)),) if note],
        curves=_curves(name, curves, len(ranking)),
        curve_legend=list({curve.name: (figures.curve_colour(curve), curve.name) for curve in curves}.values()),
        drivers=_drivers(name, ranking, by, keys),
        importance=list(shares.items()),
        no_importance=f"It takes {FEWEST} runs with different settings to tell which of them mattered."
        if len(ranking) < FEWEST
        else "No setting has several runs to each of several values, so none can be told from chance.",
        confusions=[
            Matrix(title, entry.id, confusion(found)) for title, _, entry in heads if (found := predictions[entry.id])
        ],
        hardest=gallerist.hardest(predictions[chosen.id]),
        divided=gallerist.divided(ranking[:TOP_RUNS]),
    )


def describe(entry: RunRow, keys: Sequence[str]) -> str:
    """What sets a run apart: `custom conv_out=[64,128] seed=1`."""
    names = short_names(list(keys))
    words = [f"{names[key]}={text(value)}" for key in keys if (value := entry.setting(key)) is not None]
    named = [word.partition("=")[2] if word.startswith("network=") else word for word in words]
    return " ".join(named) or str(entry.setting("model.name"))


def _heads(best: RunRow, chosen: RunRow, by: Measure, learned: bool) -> list[tuple[str, str, RunRow]]:
    highest = f"Highest {by.title}"
    if best.id == chosen.id:
        return [(f"{highest}, and recommended" if learned else highest, "best", best)]
    return [(highest, "best", best), ("Recommended", "cheap", chosen)]


def _card(title: str, css: str, entry: RunRow, label: str, by: Measure, decision: Decision | None) -> Card:
    result = entry.result
    interval = ""
    if decision:
        low, high = decision.standing(entry).interval
        interval = f"between {percent(low, 1)} and {percent(high, 1)} on other photographs of the kind (95 %)"
    shown = (
        ("accuracy", percent, "accuracy"), ("recall", percent, "recall"), ("precision", percent, "precision"),
        ("latency of the features", milliseconds, "feature_latency_ms"),
        ("FLOPs of the features", short, "feature_flops"), ("parameters", short, "parameters"),
        ("training", duration, "seconds"),
    )  # fmt: skip
    facts = [(name, show(result[key]), key, result[key]) for name, show, key in shown
             if key != by.name and result.get(key) is not None]  # fmt: skip
    return Card(title, css, entry.id, label, entry.value(by.name), interval, facts)


def _combinations(decision: Decision | None, names: dict[str, str]) -> list[Row]:
    """Where there are replicates, the combinations; the best of very many."""
    if decision is None or not decision.replicated:
        return []

    def row(one: Combination) -> Row:
        return Row(names[one.entries[0].id], len(one.entries), one.mean, one.deviation, span(*one.interval))

    return [row(one) for one in decision.combinations[:MOST_COMBINATIONS]]


def _devices(ranking: Sequence[RunRow]) -> str:
    names = {str(entry.result.get("gpu") or entry.result.get("device")) for entry in ranking}
    kinds = sorted(MEASURED_ON.get(name, name) for name in names)
    if len(kinds) > 1:
        return f"Careful: times were measured on different devices ({', '.join(kinds)}) and cannot be compared."
    return f"Times are of the {kinds[0]} that trained the runs."


def _costs(
    name: str, ranking: Sequence[RunRow], by: Measure, decision: Decision | None, labels: dict[str, str]
) -> tuple[list[Drawing], list[RunRow]]:
    """The figures, and the runs on their fronts."""
    drawings, fronts = [], {}
    for cost in COSTS:
        having = [entry for entry in ranking if entry.result.get(cost.name) is not None]
        if not having:
            continue
        front = [having[i] for i in pareto([(float(e.result[cost.name]), e.value(by.name)) for e in having])]
        fronts.update({entry.id: entry for entry in front})
        always = {entry.id for entry in front} | ({decision.recommended.id} if decision else set())
        drawn = {entry.id for entry in subsample(having, MOST_POINTS)} | always
        runs = [(entry, _kind(entry, ranking[0], decision)) for entry in having if entry.id in drawn]
        cheapest = front[0]
        number = f"{len(having):,} run{'s' * (len(having) > 1)}"
        alt = f"{number}. The cheapest, {cheapest.id}, reaches {by.show(cheapest.value(by.name))}"
        if len(front) > 1:
            alt += f"; along the front of {len(front)} runs {by.title} rises to {by.show(front[-1].value(by.name))}."
        else:
            alt += ", and none reaches more." if len(having) > 1 else "."
        drawings.append(Drawing(f"{name}-{cost.name}", cost.title, alt, figures.cost_figure(runs, by, cost, labels)))
    return drawings, list(fronts.values())


def _kind(entry: RunRow, best: RunRow, decision: Decision | None) -> Kind:
    if entry.id == best.id:
        return BEST
    if decision and decision.takes(entry):
        return CHEAP
    return EQUAL if decision and decision.standing(entry).equivalent else OTHER


def _curves(name: str, curves: Sequence[Curve], total: int) -> list[Drawing]:
    found = []
    for column, title, share in (("accuracy", "Accuracy by epoch", True), ("loss", "Loss by epoch", False)):
        figure = figures.curves_figure(curves, column, column, share)
        alt = f"The histories of {len(curves)} runs. {caption(len(curves), total)}".strip()
        found.append(Drawing(f"{name}-curves-{column}", title, alt, figure))
    return found


def _drivers(name: str, ranking: Sequence[RunRow], by: Measure, keys: Sequence[str]) -> list[Drawing]:
    if not keys or len(ranking) < 2:
        return []
    shown = subsample(ranking, MOST_LINES)
    alt = (
        f"Each line is a run, from its settings on the left to its {by.title} on the right; colour runs "
        f"from orange, the lowest, to blue, the highest. Drag along an axis to pick out runs. "
        f"{caption(len(shown), len(ranking))}"
    )
    figure = figures.parallel_figure(shown, by, short_names(list(keys)))
    return [Drawing(f"{name}-parallel", f"Settings and {by.title}, run by run", alt.strip(), figure)]


def _importance(ranking: Sequence[RunRow], by: Measure, keys: Sequence[str]) -> dict[str, float]:
    """The share of the variance of the measure that each setting explains alone."""
    names = short_names(list(keys))
    trials = [
        {names[key]: value if isinstance(value, int | float) else text(value)
         for key in keys if (value := entry.setting(key)) is not None}
        for entry in ranking
    ]  # fmt: skip
    return importances(trials, [entry.value(by.name) for entry in ranking])
