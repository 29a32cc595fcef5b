"""The Plotly figures. The page adds the colours of text and background, which depend on its theme."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from crackdet.analysis.latency import spread_of
from crackdet.analysis.rows import RunRow
from crackdet.core.console import sanitize
from crackdet.report.formatting import subsample, text
from crackdet.report.run_table import Measure
from crackdet.report.thresholds import PrecisionRecallCurve

# at least 3:1 against white and against the dark theme, and distinguishable with colour blindness
COLOURS = ("#2f7fc1", "#c8702a", "#1f9a78", "#bd5a97", "#8273cf", "#94801f", "#cf4a52", "#3a98a8")
GREY = "#7d8590"
SCALE = (COLOURS[1], COLOURS[3], COLOURS[0])  # from the least to the most accurate run
MIN_LOG_RATIO = 20  # of the largest to the smallest value, for a logarithmic axis
MAX_TICKS = 12  # named values on an axis of the parallel coordinates
MAX_CURVES = 60
MAX_ERROR_BARS = 40  # with more runs, only the marked ones have them


@dataclass(frozen=True)
class CostAxis:
    """A cost that a figure plots against the ranking metric."""

    name: str  # in `result.json`
    title: str
    unit: str
    ticks: str = "~g"


COST_AXES = (
    CostAxis("feature_latency_ms", "Latency of the feature extractor", "ms per image"),
    CostAxis("feature_flops", "Operations of the feature extractor", "FLOPs per image", "~s"),
    CostAxis("parameters", "Parameters", "weights", "~s"),
    CostAxis("seconds", "Training time", "s"),
)


@dataclass(frozen=True)
class Marker:
    """How a figure marks runs with the same verdict."""

    name: str
    symbol: str
    size: int
    colour: str


OTHER = Marker("other runs", "circle-open", 8, GREY)
UNDECIDED = Marker("undecided", "circle", 9, COLOURS[0])
RECOMMENDED = Marker("recommended", "diamond", 15, COLOURS[2])
BEST = Marker("best", "star", 17, COLOURS[1])


@dataclass(frozen=True)
class Curve:
    """The history of one run."""

    run: str
    name: str  # of its combination; "others" if it is grey
    colour: str
    rows: Sequence[Mapping[str, str]]

    def points(self, column: str) -> list[tuple[int, float]]:
        """Return (epoch, value) of each row that holds a finite number."""
        found = []
        for row in self.rows:
            with suppress(KeyError, ValueError, TypeError):
                found.append((int(row["epoch"]), float(row[column])))
        return [(epoch, value) for epoch, value in found if math.isfinite(value)]


def plain(value: object) -> str:
    """Escape text for Plotly, which interprets some HTML."""
    return html.escape(sanitize(value), quote=False)


def pareto(points: Sequence[tuple[float, float]], spreads: Sequence[float] = ()) -> list[int]:
    """Return the indices of the points (cost, value) that no other point dominates, by rising cost.

    A point of lower value must cost less by more than the `spreads` of the costs, which are 0 unless given.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (-points[i][1], points[i][0])):
        spread = max((spreads[index], spreads[front[-1]])) if spreads and front else 0.0
        if not front or points[index][0] < points[front[-1]][0] - spread:
            front.append(index)
    return front[::-1]


def cost_figure(
    runs: Sequence[tuple[RunRow, Marker]],
    by: Measure,
    axis: CostAxis,
    labels: Mapping[str, str],
    intervals: Mapping[str, tuple[float, float]],
) -> go.Figure:
    """Plot a measure against a cost, with 95 % intervals and the Pareto front of the runs.

    Args:
        labels: What distinguishes each run, by run id.
        intervals: The interval of the measure of each run, by run id.
    """
    figure = go.Figure()
    costs = [float(row.result[axis.name]) for row, _ in runs]
    points = [(cost, row.value(by.name)) for cost, (row, _) in zip(costs, runs, strict=True)]
    front = [points[index] for index in pareto(points, [spread_of(row.result, axis.name) for row, _ in runs])]
    figure.add_scatter(
        x=[x for x, _ in front], y=[y for _, y in front], mode="lines", name="Pareto front", hoverinfo="skip",
        line={"shape": "hv", "color": GREY, "width": 1.5, "dash": "dot"},
    )  # fmt: skip
    for marker in (OTHER, UNDECIDED, RECOMMENDED, BEST):
        indices = [index for index, (_, own) in enumerate(runs) if own is marker]
        if indices:
            rows = [runs[index][0] for index in indices]
            values = [row.value(by.name) for row in rows]
            bars = [intervals[row.id] for row in rows] if marker is not OTHER or len(runs) <= MAX_ERROR_BARS else []
            figure.add_scatter(
                x=[costs[index] for index in indices], y=values, error_y=_error_bars(values, bars, marker.colour),
                mode="markers",
                name=marker.name, text=[f"<b>{plain(row.id)}</b><br>{plain(labels[row.id])}" for row in rows],
                hovertemplate=f"%{{text}}<br>{by.title} %{{y:{by.form}}}<br>%{{x:.4s}} {axis.unit}<extra></extra>",
                marker={"symbol": marker.symbol, "size": marker.size, "color": marker.colour, "line": {"width": 1.5}},
            )  # fmt: skip
    scale = {"type": "log", "dtick": "D2"} if _is_wide(costs) else {"type": "linear"}  # ticks at 1, 2 and 5
    figure.update_xaxes(title=axis.unit, tickformat=axis.ticks, **scale)
    ends = [end for row, marker in runs if marker in (RECOMMENDED, BEST) for end in intervals[row.id]]
    low, high = min([*ends, *(y for _, y in points)]), max([*ends, *(y for _, y in points)])
    margin = (high - low) / 20 or 0.01  # Plotly would show equal values from 0 on
    figure.update_yaxes(title=f"validation {by.title}", tickformat=by.ticks, range=[low - margin, high + margin])
    return _framed(figure)


def _error_bars(values: Sequence[float], intervals: Sequence[tuple[float, float]], colour: str) -> dict[str, Any]:
    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 3, "visible": bool(intervals),
        "array": [max(high - value, 0) for value, (_, high) in zip(values, intervals, strict=False)],
        "arrayminus": [max(value - low, 0) for value, (low, _) in zip(values, intervals, strict=False)],
    }  # fmt: skip


def precision_recall_figure(curves: Mapping[str, PrecisionRecallCurve]) -> go.Figure:
    """Plot precision against recall.

    Args:
        curves: The curves by their title; the first has the colour of the recommended run.
    """
    figure = go.Figure()
    for (title, curve), marker in zip(curves.items(), (RECOMMENDED, BEST), strict=False):
        figure.add_scatter(
            x=curve.recall.tolist(), y=curve.precision.tolist(), mode="lines", name=plain(title),
            line={"shape": "hv", "color": marker.colour, "width": 2}, customdata=curve.thresholds.tolist(),
            hovertemplate=f"<b>{plain(title)}</b><br>recall %{{x:.1%}}, precision %{{y:.1%}}<br>"
            "threshold %{customdata:.4~g}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="recall (share of the cracks found)", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title="precision", tickformat=".0%", range=[0, 1.02])
    return _framed(figure)


def learning_curves(ranking: Sequence[RunRow], names: Mapping[str, str]) -> list[Curve]:
    """Return the curves to draw, the grey ones first so that they lie below.

    Args:
        names: The name of each run's combination, by run id; the best ones have colours.
    """
    colours = dict(zip(dict.fromkeys(names[row.id] for row in ranking), COLOURS, strict=False))
    curves = []
    for row in subsample(ranking, MAX_CURVES):
        name = names[row.id] if names[row.id] in colours else "others"
        curves.append(Curve(row.id, name, colours.get(name, GREY), row.snapshot.history))
    return sorted(curves, key=lambda curve: (GREY, *COLOURS).index(curve.colour))


def curves_figure(curves: Iterable[Curve], column: str) -> go.Figure:
    """Plot accuracy or loss by epoch: solid for validation images, dotted for training images."""
    figure = go.Figure()
    form, ticks = (".2%", ".4~p") if column == "accuracy" else (".4g", "~g")
    for curve in curves:
        for prefix, dash, width in (("train", "dot", 1.2), ("valid", "solid", 2)):
            points = curve.points(f"{prefix}_{column}")
            if not points or (prefix == "train" and curve.colour == GREY):
                continue
            figure.add_scatter(
                x=[epoch for epoch, _ in points], y=[value for _, value in points], mode="lines+markers",
                name=plain(curve.name),
                line={"color": curve.colour, "dash": dash, "width": 1 if curve.colour == GREY else width},
                marker={"size": 4 if prefix == "valid" else 2}, opacity=0.5 if curve.colour == GREY else 1,
                hovertemplate=f"<b>{plain(curve.run)}</b><br>{plain(curve.name)}<br>{prefix}, epoch %{{x}}: "
                f"%{{y:{form}}}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="epoch", tickformat="d", rangemode="tozero")
    figure.update_yaxes(title=column, tickformat=ticks)
    return _framed(figure)


def parallel_figure(rows: Sequence[RunRow], by: Measure, names: Mapping[str, str]) -> go.Figure:
    """Draw one line per run through its settings to its measure.

    Args:
        names: The settings to show: dotted keys and their short names.
    """
    values = [row.value(by.name) for row in rows]
    dimensions = [_dimension(name, [row.settings.get(key) for row in rows]) for key, name in names.items()]
    dimensions.append({"label": by.title, "values": values, "tickformat": by.ticks})
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={"color": values, "colorscale": list(zip((0, 0.5, 1), SCALE, strict=True)), "showscale": False},
        )
    )
    figure.update_traces(rangefont={"color": "rgba(0,0,0,0)"})  # the ends of an axis are among its ticks
    figure.update_layout(margin={"l": 110, "r": 60, "t": 60, "b": 30})
    return figure


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return an axis: numeric if all values are numbers, logarithmic if their range is wide, else categorical."""
    label = plain(name)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = sorted(set(values))
        if len(numbers) > MAX_TICKS and not _is_wide(values):
            return {"label": label, "values": list(values)}
        if len(numbers) > MAX_TICKS:
            numbers = numbers[:: -(-len(numbers) // MAX_TICKS)]
        scale = math.log10 if _is_wide(values) else float
        ticks = {"tickvals": [scale(number) for number in numbers], "ticktext": [plain(text(n)) for n in numbers]}
        return {"label": label, "values": [scale(value) for value in values], **ticks}
    words = [text(value) if value is not None else "none" for value in values]
    categories = sorted(set(words))
    positions = {word: position for position, word in enumerate(categories)}
    shown = categories[:: -(-len(categories) // MAX_TICKS)]
    return {"label": label, "values": [positions[word] for word in words], "range": [-0.2, len(positions) - 0.8],
            "tickvals": [positions[word] for word in shown], "ticktext": [plain(word) for word in shown]}  # fmt: skip


def _is_wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= MIN_LOG_RATIO


def _framed(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        margin={"l": 64, "r": 12, "t": 12, "b": 48},
        showlegend=False,  # the page has one legend for all figures of a row
        hovermode="closest",
    )
    return figure
