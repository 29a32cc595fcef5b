"""The Plotly figures."""

from pathlib import Path

import numpy as np
import pytest

from crackdet.analysis.ranking import summarize
from crackdet.report.figures import BEST, COST_AXES, UNDECIDED, cost_figure
from crackdet.report.run_table import measure_of
from tests.analysis.runs import publish

LABELS = np.arange(40) % 2 == 0


def test_the_axis_of_equal_values_lies_around_them(tmp_path: Path) -> None:
    """Plotly would end the axis at twice their accuracy."""
    for width, mistakes in ((1, 2), (2, 2), (3, 4)):
        logits = np.where(LABELS, 1.0, -1.0)
        logits[:mistakes] *= -1
        publish(tmp_path, LABELS, logits, 10 * width, width=width)
    runs = [(row, UNDECIDED if rank else BEST) for rank, row in enumerate(summarize(tmp_path))]
    labels = {row.id: row.id for row, _ in runs}
    (flops,) = (axis for axis in COST_AXES if axis.name == "feature_flops")
    points = {row.id: (row.accuracy, row.accuracy) for row, _ in runs}
    low, high = cost_figure(runs[:2], measure_of("accuracy"), flops, labels, points).layout.yaxis.range
    assert 0.9 < low < 0.95 < high < 1
    intervals = {row.id: (row.accuracy - 0.1, row.accuracy + 0.02) for row, _ in runs}
    low, high = cost_figure(runs, measure_of("accuracy"), flops, labels, intervals).layout.yaxis.range
    assert low < runs[0][0].accuracy - 0.1 and high > runs[0][0].accuracy + 0.02, "the interval of the best fits"


def test_error_bars_end_at_the_interval(tmp_path: Path) -> None:
    for width in (1, 2):
        publish(tmp_path, LABELS, np.where(LABELS, 1.0, -1.0) * (np.arange(40) > width), 10 * width, width=width)
    summary = summarize(tmp_path)
    runs = [(row, UNDECIDED if rank else BEST) for rank, row in enumerate(summary)]
    intervals = {row.id: summary.decisions[0].ranked(row).interval for row, _ in runs}
    figure = cost_figure(runs, measure_of("accuracy"), COST_AXES[1], {row.id: "" for row, _ in runs}, intervals)
    ends = {
        (y - below, y + above)
        for trace in figure.data[1:]
        for y, below, above in zip(trace.y, trace.error_y.arrayminus, trace.error_y.array, strict=True)
    }
    expected = sorted(tuple(interval) for interval in intervals.values())
    assert [pytest.approx(end) for end in sorted(ends)] == expected
