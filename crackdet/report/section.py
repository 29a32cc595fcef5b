"""One ranking as a section of the page: the runs with the same validation images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from crackdet.analysis.decision import Decision
from crackdet.analysis.differences import NETWORK, Differences
from crackdet.analysis.importance import MIN_TRIALS, importances, interactions
from crackdet.analysis.latency import spread_of
from crackdet.analysis.next_steps import firmer_answers, next_commands
from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.core.licenses import license_name
from crackdet.report import figures
from crackdet.report.figures import BEST, COST_AXES, OTHER, RECOMMENDED, UNDECIDED, Curve, pareto
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
from crackdet.report.galleries import TOP_RUNS, GalleryBuilder
from crackdet.report.run_table import Measure, measure_of, run_table
from crackdet.report.thresholds import operating_points, precision_recall_curve
from crackdet.store.predictions import Predictions, read_predictions

MAX_POINTS = 2000  # in a cost figure
MAX_LINES = 500  # in the parallel coordinates
MAX_COMBINATIONS = 30
MAX_INTERACTIONS = 5
MARKERS = (BEST, RECOMMENDED, UNDECIDED)  # the first one that is among the verdicts
DEVICE_NAMES = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}


@dataclass(frozen=True)
class PageFigure:
    """A figure with its title and a description for screen readers."""

    id: str
    title: str
    alt: str
    figure: go.Figure


def build_section(number: int, ranking: Sequence[RunRow], metric: str, decision: Decision) -> dict[str, Any]:
    """Return the content of the section of a ranking, as `section.html` uses it."""
    name, by = f"section{number}", measure_of(metric)
    differences = Differences(ranking)
    keys = differences.keys
    labels = {row.id: describe(row, differences) for row in ranking}
    without_seed = {row.id: describe(row, differences, seed=False) for row in ranking}
    recommended = decision.recommended
    heads = _heads(decision, by)
    curves = figures.learning_curves(ranking, without_seed)
    costs, front = _costs(name, ranking, by, decision, labels)
    learning, drivers = _curves(name, curves, len(ranking)), _drivers(name, ranking, by, keys)
    predictions = {row.id: read_predictions(row.run) for _, _, row in heads}
    confusions = [
        {"title": title, "id": row.id, "counts": _confusion(found)}
        for title, _, row in heads
        if (found := predictions[row.id])
    ]
    recall_curves = _precision_recall(name, heads, predictions)
    recommended_predictions = predictions[recommended.id]
    points = operating_points(recommended_predictions) if recommended_predictions else []
    galleries = GalleryBuilder(recommended)
    disagreements = galleries.disagreements(ranking[:TOP_RUNS])
    subsections = (
        ("decision", "Decision", True), ("table", "All runs", True), ("cost", "Cost", True),
        ("curves", "Learning curves", True), ("drivers", "Influence of settings", bool(drivers)),
        ("confusion", "Errors by class", bool(confusions)), ("thresholds", "Thresholds", bool(points)),
        ("hardest", "Hardest images", True),
        ("disagreements", "Disagreements", disagreements is not None),
        ("next", "Next steps", True),
    )  # fmt: skip
    result = ranking[0].result
    return {
        "id": name,
        "heading": f"On {result['valid_images']} validation images ({result['valid_digest'][:8]})",
        "links": [(f"{name}-{subsection}", title) for subsection, title, exists in subsections if exists],
        "by": by,
        "table": run_table(ranking, by, decision, [*front, recommended]),
        "sentences": decision.sentences,
        "decision_notes": decision.notes,
        "cards": [_card(title, css, row, labels[row.id], by, decision) for title, css, row in heads],
        "combinations": _combinations(decision, without_seed),
        "devices": _devices(ranking),
        "costs": costs,
        "cost_note": caption(min(len(ranking), MAX_POINTS), len(ranking)),
        "curves": learning,
        "curve_legend": {curve.name: curve.colour for curve in curves},
        "drivers": drivers,
        **_importance(ranking, by, keys),
        "no_importance": f"At least {MIN_TRIALS} runs with different settings are needed to tell which settings matter."
        if len(ranking) < MIN_TRIALS
        else "No setting has several runs for each of several values, so none can be distinguished from chance.",
        "confusions": confusions,
        "hardest": galleries.hardest(predictions[recommended.id]),
        "disagreements": disagreements,
        "recall_curves": recall_curves,
        "operating_points": points,
        "recommended_id": recommended.id,
        "next_commands": next_commands(decision),
        "firmer_answers": firmer_answers(decision),
        "figures": [*costs, *learning, *drivers, *recall_curves],
    }


def describe(row: RunRow, differences: Differences, seed: bool = True) -> str:
    """Return the settings of a run as text: `custom conv_out=[64,128] seed=1`."""
    settings, network = differences.describe(row, seed), str(row.setting(NETWORK))
    return sanitize(f"{network} {settings}".strip() if NETWORK in differences.keys else settings or network)


def _heads(decision: Decision, by: Measure) -> list[tuple[str, str, RunRow]]:
    """Return title, CSS class and run of each card."""
    highest, best = f"Highest {by.title}", decision.best
    if best.id == decision.recommended.id:
        return [(f"{highest}, and recommended" if decision.is_recommended(best) else highest, "best", best)]
    return [(highest, "best", best), ("Recommended", "recommended", decision.recommended)]


def _card(title: str, css: str, row: RunRow, label: str, by: Measure, decision: Decision) -> dict[str, Any]:
    result = row.result
    low, high = decision.ranked(row).interval
    interval = f"between {percent(low, 1)} and {percent(high, 1)} on other images of the same kind (95 %)"
    shown = (
        ("accuracy", percent, "accuracy"), ("recall", percent, "recall"), ("precision", percent, "precision"),
        ("latency of the features", milliseconds, "feature_latency_ms"),
        ("FLOPs of the features", short, "feature_flops"), ("parameters", short, "parameters"),
        ("training", duration, "seconds"), ("license of the initial weights", license_name, "license"),
    )  # fmt: skip
    facts = [(name, show(result[key]), key, result[key]) for name, show, key in shown
             if key != by.name and result.get(key) is not None]  # fmt: skip
    return {
        "title": title, "css": css, "id": row.id, "settings": label, "value": row.value(by.name), "interval": interval,
        "facts": facts,
    }  # fmt: skip


def _combinations(decision: Decision, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the best combinations if there are replicates."""
    return [
        {"name": names[one.rows[0].id], "n": len(one.rows), "mean": one.mean, "sd": one.deviation,
         "interval": span(*one.interval)}
        for one in decision.combinations[:MAX_COMBINATIONS] if decision.replicated
    ]  # fmt: skip


def _confusion(predictions: Predictions) -> dict[str, int]:
    """Return the number of images by label and prediction."""
    cracks, called = predictions.labels, predictions.predicted
    masks = {
        "hits": cracks & called, "misses": cracks & ~called,
        "false_alarms": ~cracks & called, "rejections": ~cracks & ~called,
    }  # fmt: skip
    return {name: int(mask.sum()) for name, mask in masks.items()}


def _devices(ranking: Sequence[RunRow]) -> str:
    names = {str(row.result.get("gpu") or row.result.get("device")) for row in ranking}
    devices = sorted(DEVICE_NAMES.get(name, name) for name in names)
    if len(devices) > 1:
        return f"Caution: times were measured on different devices ({', '.join(devices)}) and cannot be compared."
    return f"Times were measured on the {devices[0]} that trained the runs."


def _costs(
    name: str, ranking: Sequence[RunRow], by: Measure, decision: Decision, labels: Mapping[str, str]
) -> tuple[list[PageFigure], list[RunRow]]:
    """Return the cost figures, and the runs on their Pareto fronts."""
    found, on_front = [], {}
    intervals = {row.id: decision.ranked(row).interval for row in ranking}
    for axis in COST_AXES:
        rows = [row for row in ranking if row.result.get(axis.name) is not None]
        if not rows:
            continue
        points = [(float(row.result[axis.name]), row.value(by.name)) for row in rows]
        front = [rows[i] for i in pareto(points, [spread_of(row.result, axis.name) for row in rows])]
        on_front.update({row.id: row for row in front})
        shown = {row.id for row in (*subsample(rows, MAX_POINTS), *front, decision.recommended)}
        runs = [
            (row, next((marker for marker in MARKERS if marker.name in decision.verdicts(row)), OTHER))
            for row in rows
            if row.id in shown
        ]
        alt = (
            f"{len(rows):,} run{'s' * (len(rows) > 1)}. The cheapest, {front[0].id}, reaches "
            f"{by.show(front[0].value(by.name))}"
        )
        if len(front) > 1:
            best = by.show(front[-1].value(by.name))
            alt += f"; along the Pareto front of {len(front)} runs, {by.title} rises to {best}."
        else:
            alt += ", and no run reaches more." if len(rows) > 1 else "."
        figure = figures.cost_figure(runs, by, axis, labels, intervals)
        found.append(PageFigure(f"{name}-{axis.name}", axis.title, alt, figure))
    return found, list(on_front.values())


def _curves(name: str, curves: Sequence[Curve], total: int) -> list[PageFigure]:
    alt = f"The histories of {len(curves)} runs. {caption(len(curves), total)}".strip()
    return [
        PageFigure(f"{name}-curves-{column}", title, alt, figures.curves_figure(curves, column))
        for column, title in (("accuracy", "Accuracy by epoch"), ("loss", "Loss by epoch"))
    ]


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


def _precision_recall(
    name: str, heads: Sequence[tuple[str, str, RunRow]], predictions: Mapping[str, Predictions | None]
) -> list[PageFigure]:
    """Return the precision-recall curves of the runs with a card, the recommended run first."""
    known = [(title, found) for title, _, row in reversed(heads) if (found := predictions[row.id])]
    curves = {title: curve for title, found in known if (curve := precision_recall_curve(found))}
    if not curves:
        return []
    alt = f"Precision against recall at every threshold. Runs: {'; '.join(curves)}."
    return [PageFigure(f"{name}-recall", "Precision and recall", alt, figures.precision_recall_figure(curves))]


def _importance(ranking: Sequence[RunRow], by: Measure, keys: Sequence[str]) -> dict[str, Mapping[str, float]]:
    """Return the shares of the measure's variance that each setting explains alone, and that pairs of them add."""
    names = short_names(keys)
    trials = [
        {names[key]: value if isinstance(value, int | float) else text(value)
         for key in keys if (value := row.setting(key)) is not None}
        for row in ranking
    ]  # fmt: skip
    values = [row.value(by.name) for row in ranking]
    pairs = interactions(trials, values) if len(ranking) >= MIN_TRIALS else {}
    return {
        "importance": importances(trials, values),
        "interactions": {" and ".join(pair): share for pair, share in list(pairs.items())[:MAX_INTERACTIONS]},
    }
