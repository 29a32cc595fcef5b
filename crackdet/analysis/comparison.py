"""Compare every run, and every combination, with the best one of its ranking.

Single runs are compared on the same images by McNemar's exact test, which describes the networks as trained. If images
belong to groups, each group is one observation and Student's t compares. With replicates, combinations are compared
too, with runs and images both as samples, which describes what retraining would give. All p-values are corrected for
their number (Holm); with p of at least 5 % the difference from the best is not significant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from crackdet.analysis import replicates
from crackdet.analysis.correctness import CorrectnessMatrix
from crackdet.analysis.rows import UNKNOWN_FLOPS, RunRow, config_keys, group_by_settings
from crackdet.core.bitmask import count_set
from crackdet.metrics import statistics
from crackdet.metrics.numpy_metrics import Floats
from crackdet.metrics.sample_size import ALPHA
from crackdet.metrics.statistics import Difference, Interval

MAX_COMBINATIONS = 500  # largest number that is compared with the best
MAX_COST_RATIO = 0.95  # a cheaper network needs at most this share of the best one's operations


class RankedRun(NamedTuple):
    """One run of a ranking, compared with the best run."""

    row: RunRow
    value: float  # the ranking metric
    interval: Interval
    p_value: float | None  # corrected; tests whether the run is as good as the best. None: the best run, or unknown
    undecided: bool  # the difference from the best is not significant; true for the best run
    difference: Difference | None  # by how much it is worse than the best; None if unknown

    @property
    def near_best(self) -> bool:
        """Whether it may be recommended in place of the best: not significantly worse, and not far behind."""
        return self.undecided and statistics.is_negligible(self.difference)


@dataclass(frozen=True)
class Combination:
    """The runs that differ by their seed only, compared with the best combination."""

    rows: Sequence[RunRow]  # by rank
    settings: Mapping[str, Any]  # in which combinations differ, by dotted key
    mean: float  # mean of the ranking metric
    deviation: float | None  # standard deviation between the runs; None for a single run
    interval: Interval  # for the mean, with runs and images as samples
    p_value: float | None  # corrected, as for a run
    undecided: bool  # the difference from the best combination is not significant; true for the best combination
    difference: Difference | None  # by how much it is worse than the best combination; None for the best, or if unknown

    @property
    def near_best(self) -> bool:
        """Whether its runs may be recommended in place of those of the best combination."""
        return self.undecided and statistics.is_negligible(self.difference)


class _Comparison(NamedTuple):
    """The runs of a ranking against the first, in the same order."""

    p_values: Floats  # not corrected; NaN for the first and for unknown ones
    num_images: Floats  # effective number of independent images
    differences: Sequence[Difference | None]


def is_cheaper(row: RunRow, other: RunRow) -> bool:
    """Return whether a run needs clearly fewer operations than another."""
    return row.flops <= MAX_COST_RATIO * other.flops < UNKNOWN_FLOPS and other.flops > 0


def compare_runs(matrix: CorrectnessMatrix, metric: str) -> list[RankedRun]:
    """Compare every run of a ranking with the first."""
    values = np.array([row.value(metric) for row in matrix.ranking])
    is_share = metric == "accuracy" or (metric == "recall" and matrix.shared is not None)
    compare = _compare_by_mcnemar if is_share and matrix.groups is None else _compare_by_influence
    p_values, num_images, differences = compare(matrix, values, metric)
    low, high = statistics.proportion_interval(values, num_images)
    known = ~np.isnan(p_values)
    p_values[known] = statistics.holm_correction(p_values[known])
    undecided = p_values >= ALPHA
    undecided[0] = True
    columns = (
        matrix.ranking,
        values.tolist(),
        map(Interval, low.tolist(), high.tolist()),
        [None if np.isnan(p_value) else p_value for p_value in p_values.tolist()],
        undecided.tolist(),
        differences,
    )
    return [RankedRun(*fields) for fields in zip(*columns, strict=True)]


def compare_combinations(
    matrix: CorrectnessMatrix, metric: str, ranked: Sequence[RankedRun], keys: Sequence[str]
) -> list[Combination]:
    """Group the runs of a ranking into combinations, by falling mean, and compare each with the first.

    Args:
        ranked: The runs of the ranking, compared. Without replicates, these comparisons are those of the combinations.
        keys: The settings in which the runs differ.
    """
    keys = config_keys(matrix.ranking, keys)
    grouped = group_by_settings(matrix.ranking, keys)
    settings = [dict(zip(keys, values, strict=True)) for values, _ in grouped]
    members = [indices for _, indices in grouped]
    if all(len(indices) == 1 for indices in members):
        runs = [ranked[indices[0]] for indices in members]
        return [Combination([run.row], own, run.value, None, *run[2:]) for run, own in zip(runs, settings, strict=True)]
    values = np.array([run.value for run in ranked])
    means = [float(values[indices].mean()) for indices in members]
    order = sorted(range(len(members)), key=lambda at: (-means[at], matrix.ranking[members[at][0]].flops))
    samples = _samples(matrix, metric, [members[at] for at in order])
    groups = matrix.groups_of(metric)
    compared = {
        place: replicates.compare(sample, samples[0], groups)
        for place, sample in enumerate(samples)
        if place and sample is not None and samples[0] is not None
    }
    corrected = statistics.holm_correction([p_value for p_value, _ in compared.values()]).tolist()
    p_values = dict(zip(compared, corrected, strict=True))
    return [
        Combination(
            rows=[matrix.ranking[index] for index in members[at]],
            settings=settings[at],
            mean=means[at],
            deviation=float(values[members[at]].std(ddof=1)) if len(members[at]) > 1 else None,
            interval=Interval(0.0, 1.0) if sample is None else replicates.confidence_interval(sample, groups),
            p_value=p_values.get(place),
            undecided=place == 0 or p_values.get(place, 0.0) >= ALPHA,
            difference=compared[place][1] if place in compared else None,
        )
        for place, (at, sample) in enumerate(zip(order, samples, strict=True))
    ]


def _samples(
    matrix: CorrectnessMatrix, metric: str, members: Sequence[Sequence[int]]
) -> list[replicates.ScoreSample | None]:
    """Return the scores of each combination; None if they are unknown, or beyond `MAX_COMBINATIONS`."""
    samples = [matrix.sample(indices, metric) for indices in members[:MAX_COMBINATIONS]]
    spread = iter(replicates.pool_run_variance([sample for sample in samples if sample is not None]))
    known = [None if sample is None else next(spread) for sample in samples]
    return known + [None] * (len(members) - len(known))


def _compare_by_mcnemar(matrix: CorrectnessMatrix, values: Floats, metric: str) -> _Comparison:
    """Compare metrics that are shares of single images."""
    counted = np.ones(matrix.num_images, bool)
    if metric == "recall" and matrix.shared is not None:
        counted = matrix.shared.labels
    number = int(counted.sum())
    correct = matrix.packed
    discordant = (correct ^ correct[0]) & np.packbits(counted)
    only_best, only_other = count_set(discordant & correct[0]), count_set(discordant & correct)
    p_values = statistics.mcnemar(only_best, only_other)
    p_values[0] = np.nan
    return _Comparison(
        p_values, np.full(len(values), number), statistics.paired_differences(only_best, only_other, number)
    )


def _compare_by_influence(matrix: CorrectnessMatrix, values: Floats, metric: str) -> _Comparison:
    """Compare other metrics, or grouped images, by the influence of each image on the metric and Student's t."""
    groups = matrix.groups_of(metric)
    p_values = np.full(len(values), np.nan)
    num_images = np.full(len(values), float(matrix.num_independent))
    differences: list[Difference | None] = [None] * len(values)
    first = matrix.sample([0], metric)
    for index in range(len(values)):
        sample = matrix.sample([index], metric) if index else first
        if sample is None or first is None:
            continue
        num_images[index] = replicates.effective_images(sample, groups, matrix.num_relevant(index, metric))
        if index:
            p_values[index], differences[index] = replicates.compare(sample, first, groups)
    return _Comparison(p_values, num_images, differences)
