"""The figures, as Plotly knows them; their colours of ink and paper come from the page, which is light or dark."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.report.curves import Curve
from crackdet.report.formatting import text
from crackdet.report.run_table import Measure

# at least 3:1 against white and against the page's dark, and told apart by the colour-blind
COLOURS = ("#2f7fc1", "#c8702a", "#1f9a78", "#bd5a97", "#8273cf", "#94801f", "#cf4a52", "#3a98a8")
GREY = "#7d8590"
SCALE = (COLOURS[1], COLOURS[3], COLOURS[0])  # from the least to the most accurate run
LOG_FROM = 20  # the ratio of the largest to the smallest value from which an axis is logarithmic
MOST_TICKS = 12  # named values on an axis of the parallel coordinates


@dataclass(frozen=True)
class Cost:
    """What a figure sets against what runs are ranked by."""

    name: str  # in `result.json`
    title: str
    unit: str
    ticks: str = "~g"


COSTS = (
    Cost("feature_latency_ms", "Latency of the feature extractor", "ms an image"),
    Cost("feature_flops", "Operations of the feature extractor", "FLOPs an image", "~s"),
    Cost("parameters", "Parameters", "weights", "~s"),
    Cost("seconds", "Training time", "s"),
)


@dataclass(frozen=True)
class Kind:
    """How a figure marks runs of one standing."""

    name: str
    symbol: str
    size: int
    colour: str


OTHER = Kind("other runs", "circle-open", 8, GREY)
EQUAL = Kind("cannot be told from the best", "circle", 9, COLOURS[0])
CHEAP = Kind("recommended", "diamond", 15, COLOURS[2])
BEST = Kind("the highest", "star", 17, COLOURS[1])


def plain(value: object) -> str:
    """Text for Plotly, which takes some HTML."""
    return html.escape(sanitize(value), quote=False)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points (cost, value) that none other beats in one without losing in the other, by rising cost."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def cost_figure(runs: Sequence[tuple[RunRow, Kind]], by: Measure, cost: Cost, labels: Mapping[str, str]) -> go.Figure:
    """A measure against a cost; `labels` say what sets each run apart. The front is that of all `runs`."""
    figure = go.Figure()
    values = [float(entry.result[cost.name]) for entry, _ in runs]
    points = [(value, entry.value(by.name)) for value, (entry, _) in zip(values, runs, strict=True)]
    front = [points[index] for index in pareto(points)]
    figure.add_scatter(
        x=[x for x, _ in front], y=[y for _, y in front], mode="lines", name="Pareto front", hoverinfo="skip",
        line={"shape": "hv", "color": GREY, "width": 1.5, "dash": "dot"},
    )  # fmt: skip
    for kind in (OTHER, EQUAL, CHEAP, BEST):
        members = [index for index, (_, given) in enumerate(runs) if given is kind]
        if members:
            chosen = [runs[index][0] for index in members]
            figure.add_scatter(
                x=[values[index] for index in members], y=[entry.value(by.name) for entry in chosen],
                mode="markers",
                name=kind.name, text=[f"<b>{plain(e.id)}</b><br>{plain(labels[e.id])}" for e in chosen],
                hovertemplate=f"%{{text}}<br>{by.title} %{{y:{by.form}}}<br>%{{x:.4s}} {cost.unit}<extra></extra>",
                marker={"symbol": kind.symbol, "size": kind.size, "color": kind.colour, "line": {"width": 1.5}},
            )  # fmt: skip
    scale = {"type": "log", "dtick": "D2"} if _spread(values) else {"type": "linear"}  # ticks at 1, 2 and 5
    figure.update_xaxes(title=cost.unit, tickformat=cost.ticks, **scale)
    figure.update_yaxes(title=f"validation {by.title}", tickformat=by.ticks, range=_around([y for _, y in points]))
    return _framed(figure)


def _around(values: Sequence[float]) -> list[float] | None:
    """An axis for values that are all one, which Plotly would show from 0 to twice as much; None where they differ."""
    low, high = min(values), max(values)
    return [low - 0.01, high + 0.01] if low == high else None


def curves_figure(curves: Iterable[Curve], column: str, title: str, share: bool) -> go.Figure:
    """A column of the histories by epoch: on validation images drawn through, on training images dotted."""
    figure = go.Figure()
    for curve in curves:
        for prefix, dash, width in (("train", "dot", 1.2), ("valid", "solid", 2)):
            points = curve.points(f"{prefix}_{column}")
            if not points or (prefix == "train" and curve.group is None):
                continue
            figure.add_scatter(
                x=[epoch for epoch, _ in points], y=[value for _, value in points], mode="lines+markers",
                name=plain(curve.name),
                line={"color": curve_colour(curve), "dash": dash, "width": width if curve.group is not None else 1},
                marker={"size": 4 if prefix == "valid" else 2}, opacity=0.5 if curve.group is None else 1,
                hovertemplate=f"<b>{plain(curve.run)}</b><br>{plain(curve.name)}<br>{prefix}, epoch %{{x}}: "
                f"%{{y:{'.2%' if share else '.4g'}}}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="epoch", tickformat="d", rangemode="tozero")
    figure.update_yaxes(title=title, tickformat=".4~p" if share else "~g")
    return _framed(figure)


def curve_colour(curve: Curve) -> str:
    return GREY if curve.group is None else COLOURS[curve.group]


def parallel_figure(entries: Sequence[RunRow], by: Measure, names: Mapping[str, str]) -> go.Figure:
    """One line a run through its settings (`names`: keys and what to call them) to what it is ranked by."""
    reached = [entry.value(by.name) for entry in entries]
    dimensions = [_dimension(name, [entry.settings.get(key) for entry in entries]) for key, name in names.items()]
    dimensions.append({"label": by.title, "values": reached, "tickformat": by.ticks})
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={"color": reached, "colorscale": list(zip((0, 0.5, 1), SCALE, strict=True)), "showscale": False},
        )
    )
    figure.update_traces(rangefont={"color": "rgba(0,0,0,0)"})  # the ends of an axis are among its ticks
    figure.update_layout(margin={"l": 110, "r": 60, "t": 60, "b": 30})
    return figure


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """An axis: of numbers where all are, logarithmic where they spread far; else of names."""
    label = plain(name)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        kinds = sorted(set(values))
        if len(kinds) > MOST_TICKS and not _spread(values):
            return {"label": label, "values": list(values)}
        if len(kinds) > MOST_TICKS:
            kinds = kinds[:: -(-len(kinds) // MOST_TICKS)]
        scale = math.log10 if _spread(values) else float
        ticks = {"tickvals": [scale(kind) for kind in kinds], "ticktext": [plain(text(kind)) for kind in kinds]}
        return {"label": label, "values": [scale(value) for value in values], **ticks}
    words = [text(value) if value is not None else "none" for value in values]
    kinds_of_words = sorted(set(words))
    places = {word: place for place, word in enumerate(kinds_of_words)}
    shown = kinds_of_words[:: -(-len(kinds_of_words) // MOST_TICKS)]
    return {"label": label, "values": [places[word] for word in words], "range": [-0.2, len(places) - 0.8],
            "tickvals": [places[word] for word in shown], "ticktext": [plain(word) for word in shown]}  # fmt: skip


def _spread(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= LOG_FROM


def _framed(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        margin={"l": 64, "r": 12, "t": 12, "b": 48},
        showlegend=False,  # the page has one for all figures of a row
        hovermode="closest",
    )
    return figure
