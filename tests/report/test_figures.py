"""The figures, as Plotly is given them."""

from pathlib import Path

import numpy as np

from crackdet.analysis.ranking import summarize
from crackdet.report.figures import BEST, COSTS, EQUAL, cost_figure
from crackdet.report.run_table import measure_of
from tests.analysis.runs import publish

LABELS = np.arange(40) % 2 == 0


def test_runs_that_are_equally_good_are_drawn_around_what_they_reach(tmp_path: Path) -> None:
    """Plotly would show them on an axis that ends at twice their accuracy."""
    for width, mistakes in ((1, 2), (2, 2), (3, 4)):
        logits = np.where(LABELS, 1.0, -1.0)
        logits[:mistakes] *= -1
        publish(tmp_path, LABELS, logits, 10 * width, width=width)
    runs = [(entry, BEST if place == 0 else EQUAL) for place, entry in enumerate(summarize(tmp_path))]
    labels = {entry.id: entry.id for entry, _ in runs}
    (flops,) = (cost for cost in COSTS if cost.name == "feature_flops")
    low, high = cost_figure(runs[:2], measure_of("accuracy"), flops, labels).layout.yaxis.range
    assert 0.9 < low < 0.95 < high < 1
    assert cost_figure(runs, measure_of("accuracy"), flops, labels).layout.yaxis.range is None
