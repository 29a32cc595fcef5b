"""The Plotly figures."""

from pathlib import Path

import numpy as np

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
    low, high = cost_figure(runs[:2], measure_of("accuracy"), flops, labels).layout.yaxis.range
    assert 0.9 < low < 0.95 < high < 1
    assert cost_figure(runs, measure_of("accuracy"), flops, labels).layout.yaxis.range is None
