"""Which of the ranked runs to take: the best, those that chance does not tell from it, and the cheapest of these.

Single runs are compared with the best on the same images, by McNemar's exact test: that speaks of the networks as
they were trained. Where images belong to groups, each group is one draw, and Student's t compares. Where there are
replicates, combinations are compared too, with runs and images both taken as draws: that speaks of what training them
again would give. All tests are corrected for their number (Holm), and the set of those that cannot be told from the
best holds what passes. To be taken in place of the best a network must also be no further behind than one standard
error of the difference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from crackdet.analysis import replicates
from crackdet.analysis.correctness import MOST_READ, CorrectnessMatrix
from crackdet.analysis.rows import RunRow, config_keys, differing_keys, group_by_settings
from crackdet.core.bitmask import count
from crackdet.metrics import statistics
from crackdet.metrics.numpy_metrics import Floats, Threshold, roc_scores, threshold_for_recall
from crackdet.metrics.statistics import ALPHA, Difference, Interval
from crackdet.store.predictions import read_predictions

MOST_COMPARED = 500  # combinations
UNKNOWN_COST = float("inf")
SAVING = 0.95  # of the best one's computing, at most: for less of a saving nothing is given away
CHANCE = 0.5  # ROC-AUC of scores that have nothing to do with cracks
# what a metric is where every image is called a crack, or none: the better of the two
ALWAYS_ALIKE: Mapping[str, Callable[[float], float]] = {
    "accuracy": lambda share: max(share, 1 - share),
    "precision": lambda share: share,
    "f1": lambda share: 2 * share / (1 + share),
    "roc_auc": lambda share: CHANCE,
}


class RankedRun(NamedTuple):
    """One run in its ranking."""

    entry: RunRow
    value: float  # of the ranking metric
    interval: Interval
    p_value: float | None  # that it is as good as the best, corrected; None for the best, and where nothing tells
    equivalent: bool  # cannot be told from the best
    gap: Difference | None  # by how much it is behind the best; None where nothing tells

    @property
    def close(self) -> bool:
        """Whether it may stand for the best."""
        return self.equivalent and statistics.negligible(self.gap)


@dataclass(frozen=True)
class Combination:
    """The runs that differ by their seed only."""

    entries: Sequence[RunRow]  # by rank
    settings: Mapping[str, Any]  # in which combinations differ, by dotted key
    mean: float  # of the ranking metric
    deviation: float | None  # standard deviation between the runs; None of a single one
    interval: Interval  # of the mean: runs and images both vary
    p_value: float | None  # that it is as good as the best combination, corrected
    equivalent: bool  # cannot be told from the best combination
    gap: Difference | None  # by how much it is behind the best combination; None for that, and where nothing tells

    @property
    def flops(self) -> float:
        return flops(self.entries[0])

    @property
    def close(self) -> bool:
        """Whether it may stand for the best combination."""
        return self.equivalent and statistics.negligible(self.gap)


@dataclass(frozen=True)
class Decision:
    """What follows from one ranking."""

    metric: str
    images: int  # validation images
    groups: int | None  # of images; None where each stands alone
    standings: Sequence[RankedRun]  # every run, by rank
    combinations: Sequence[Combination]  # by falling mean
    replicated: bool  # whether some settings were trained from several seeds: combinations were compared, too
    recommended: RunRow  # the cheapest of what may stand for the best; the best itself where that has not learned
    alike: int  # networks that nothing tells from the best, itself among them: by themselves or by their combinations
    luck: float  # by how much the best of as many equally good networks is expected to look too good
    compared: int  # combinations that were compared; the others stand behind them
    differing_keys: Sequence[str]  # the settings in which the runs differ, the seed among them
    baseline: float | None  # the metric of one and the same answer for every image; None where that says nothing
    learned: bool  # whether what the best says of the images is shown to have to do with cracks

    @property
    def best(self) -> RunRow:
        """The run that leads the ranking."""
        return self.standings[0].entry

    @property
    def equivalent(self) -> list[RankedRun]:
        """The runs that cannot be told from the best, itself among them."""
        return [standing for standing in self.standings if standing.equivalent]

    @property
    def cheaper(self) -> list[RankedRun]:
        """Those of them that need clearly less computing than the best."""
        return [standing for standing in self.equivalent if saves(standing.entry, self.best)]

    @property
    def uncompared(self) -> int:
        """How many runs could not be compared with the best."""
        return sum(standing.p_value is None for standing in self.standings[1:])

    def takes(self, entry: RunRow) -> bool:
        """Whether this run is the one to take."""
        return self.learned and entry.id == self.recommended.id

    def gap(self, entry: RunRow) -> Difference | None:
        """By how much a run, or its combination where that may be worse, is behind the best."""
        gaps = [one for one in (self.standing(entry).gap, self.combination(entry).gap) if one is not None]
        return max(gaps, key=lambda gap: (not statistics.negligible(gap), gap.high), default=None)

    @property
    def equivalent_combinations(self) -> list[Combination]:
        return [combination for combination in self.combinations if combination.equivalent]

    def standing(self, entry: RunRow) -> RankedRun:
        return self._by_id[entry.id]

    def combination(self, entry: RunRow) -> Combination:
        """The one that a run belongs to."""
        return next(one for one in self.combinations if any(other.id == entry.id for other in one.entries))

    @property
    def sentences(self) -> tuple[str, str]:
        """The decision in plain words: what is best, and what to take."""
        from crackdet.analysis.narrative import sentences

        return sentences(self)

    @property
    def notes(self) -> list[str]:
        """What to keep in mind with it, a sentence each."""
        from crackdet.analysis.narrative import notes

        return notes(self)

    def threshold(self, recall: float, entry: RunRow | None = None) -> Threshold | None:
        """Where the recommended run (or another) finds so many of the cracks; None where its predictions are gone."""
        predictions = read_predictions((entry or self.recommended).run)
        if predictions is None or not predictions.labels.any() or predictions.labels.all():
            return None
        return threshold_for_recall(predictions.logits, predictions.labels, recall)

    @cached_property
    def _by_id(self) -> dict[str, RankedRun]:
        return {standing.entry.id: standing for standing in self.standings}


def flops(entry: RunRow) -> float:
    """Of the feature extractor for one image: what the kept part costs."""
    given = entry.result.get("feature_flops")
    return UNKNOWN_COST if given is None else float(given)


def saves(entry: RunRow, other: RunRow) -> bool:
    """Whether a run needs clearly less computing than another."""
    return flops(entry) <= SAVING * flops(other) < UNKNOWN_COST and flops(other) > 0


def decide(ranking: Sequence[RunRow], metric: str = "accuracy") -> Decision | None:
    """The decision of runs ranked by a metric, the best first; None where results do not name their images."""
    evidence = CorrectnessMatrix(ranking)
    if not evidence.images:
        return None
    values = np.array([entry.value(metric) for entry in ranking])
    standings = _standings(evidence, metric, values)
    keys = differing_keys(ranking)
    apart = config_keys(ranking, keys)
    gathered = [
        (places, dict(zip(apart, settings, strict=True))) for settings, places in group_by_settings(ranking, apart)
    ]
    replicated = any(len(places) > 1 for places, _ in gathered)
    if replicated:
        combinations = _compared(evidence, metric, values, gathered)
    else:
        combinations = [_alone(standings[places[0]], settings) for places, settings in gathered]
    passed = {id(standing.entry) for standing in standings if standing.equivalent}
    left = {id(entry) for one in combinations if one.equivalent for entry in one.entries if id(entry) in passed}
    alike = [place for place, entry in enumerate(ranking) if place == 0 or id(entry) in left]
    close = {id(standing.entry) for standing in standings if standing.close}
    candidates = [entry for one in combinations if one.close for entry in one.entries if id(entry) in close]
    best = ranking[0]
    learned = _learned(evidence, metric)
    if not learned:
        candidates = [best]
    elif id(best) in left:  # else its combination is told to be worse than another
        candidates = [best, *(entry for entry in candidates if saves(entry, best))]
    return Decision(
        metric=metric,
        images=evidence.images,
        groups=None if evidence.groups is None else int(evidence.groups.max()) + 1,
        standings=standings,
        combinations=combinations,
        replicated=replicated,
        recommended=min(candidates or combinations[0].entries, key=lambda entry: (flops(entry), -entry.value(metric))),
        alike=len(alike),
        luck=_luck(evidence, metric, alike),
        compared=sum(one.p_value is not None for one in combinations) + 1,
        differing_keys=keys,
        baseline=_baseline(evidence, metric),
        learned=learned,
    )


def _standings(evidence: CorrectnessMatrix, metric: str, values: Floats) -> list[RankedRun]:
    by_calls = metric == "accuracy" or (metric == "recall" and evidence.shared is not None)
    if by_calls and evidence.groups is None:
        p_values, number, gaps = _mcnemar(evidence, values, metric)
    else:
        p_values, number, gaps = _influence(evidence, values, metric)
    low, high = statistics.proportion_interval(values, number)
    known = ~np.isnan(p_values)
    p_values[known] = statistics.holm(p_values[known])
    equivalent = p_values >= ALPHA
    equivalent[0] = True
    chances = [p_value if there else None for p_value, there in zip(p_values.tolist(), known.tolist(), strict=True)]
    intervals = map(Interval, low.tolist(), high.tolist())
    columns = (evidence.ranking, values.tolist(), intervals, chances, equivalent.tolist(), gaps)
    return [RankedRun(*row) for row in zip(*columns, strict=True)]


def _mcnemar(
    evidence: CorrectnessMatrix, values: Floats, metric: str
) -> tuple[Floats, Floats, Sequence[Difference | None]]:
    """P-values against the first, not corrected, on how many images the metric is a share of, and the gaps."""
    counted = np.ones(evidence.images, bool)
    if metric == "recall" and evidence.shared is not None:
        counted = evidence.shared.labels
    number = int(counted.sum())
    right, known = evidence.packed
    wrong = np.round((1 - values) * number)
    # Where it is not known which images a run got right, the two are taken to have no mistake in common: of all that
    # fits the two values this tells them apart least.
    only_best, only_other = wrong.copy(), np.full(len(values), wrong[0])
    if known[0]:
        one_right = (right ^ right[0]) & np.packbits(counted)
        only_best[known] = count(one_right & right[0])[known]
        only_other[known] = count(one_right & right)[known]
    p_values = statistics.mcnemar(only_best.astype(int), only_other.astype(int))
    p_values[0] = np.nan
    return p_values, np.full(len(values), number), statistics.paired_gaps(only_best, only_other, number)


def _influence(
    evidence: CorrectnessMatrix, values: Floats, metric: str
) -> tuple[Floats, Floats, Sequence[Difference | None]]:
    """The same where the metric is no share of single images: by the influence of each on it, and Student's t.

    The number is that of independent images, or groups, that would say as much of the metric.
    """
    groups = evidence.groups_of(metric)
    p_values, number = np.full(len(values), np.nan), np.full(len(values), float(evidence.draws))
    gaps: list[Difference | None] = [None] * len(values)
    first = evidence.sample([0], metric)
    for place in range(len(values)):
        own = evidence.sample([place], metric) if place else first
        if own is None or first is None:
            continue
        number[place] = replicates.draws(own, groups, evidence.counted(place, metric))
        if place:
            p_values[place], gaps[place] = replicates.compare(own, first, groups)
    return p_values, number, gaps


def _alone(standing: RankedRun, settings: Mapping[str, Any]) -> Combination:
    """A combination of one run, of which nothing more is known."""
    return Combination(
        [standing.entry],
        settings,
        standing.value,
        None,
        standing.interval,
        standing.p_value,
        standing.equivalent,
        standing.gap,
    )


def _compared(
    evidence: CorrectnessMatrix, metric: str, values: Floats, gathered: Sequence[tuple[list[int], dict[str, Any]]]
) -> list[Combination]:
    """The combinations by falling mean, the first of them compared with the best."""
    ranking, groups = evidence.ranking, evidence.groups_of(metric)
    means = {id(places): float(values[places].mean()) for places, _ in gathered}
    ordered = sorted(gathered, key=lambda one: (-means[id(one[0])], flops(ranking[one[0][0]])))
    samples: list[replicates.Sample | None] = []
    for places, _ in ordered[:MOST_COMPARED]:
        samples.append(evidence.sample(places, metric))
    spread = iter(replicates.share_spread([one for one in samples if one is not None]))
    samples = [None if one is None else next(spread) for one in samples]
    first = samples[0]
    p_values = np.full(len(ordered), np.nan)
    gaps: list[Difference | None] = [None] * len(ordered)
    for place, one in enumerate(samples):
        if place and one is not None and first is not None:
            p_values[place], gaps[place] = replicates.compare(one, first, groups)
    known_values = ~np.isnan(p_values)
    p_values[known_values] = statistics.holm(p_values[known_values])
    found = []
    for place, (places, settings) in enumerate(ordered):
        one = samples[place] if place < len(samples) else None
        found.append(
            Combination(
                entries=[ranking[at] for at in places],
                settings=settings,
                mean=means[id(places)],
                deviation=float(values[places].std(ddof=1)) if len(places) > 1 else None,
                interval=Interval(0.0, 1.0) if one is None else replicates.interval(one, groups),
                p_value=float(p_values[place]) if known_values[place] else None,
                equivalent=place == 0 or bool(p_values[place] >= ALPHA),
                gap=gaps[place],
            )
        )
    return found


def _learned(evidence: CorrectnessMatrix, metric: str) -> bool:
    """Whether the first one's calls, or for the ROC-AUC its scores, are told from chance, being the best of so many."""
    shared, right = evidence.shared, evidence.right(0)
    if shared is None or right is None:
        return True
    labels, called = shared.labels, shared.labels == right
    number, cracks = len(labels), int(labels.sum())
    groups = evidence.groups if evidence.draws > 1 else None
    own = evidence.sample([0], metric) if metric == "roc_auc" else None
    if own is None and groups is not None and 0 < cracks < number:
        # calls are scores of two values, whose ROC-AUC is 0.5 as well where they have nothing to do with cracks
        own = replicates.sample(roc_scores(called.astype(float), labels)[None])
    hits = int((labels & called).sum())
    by_images = statistics.fisher_exact(hits, int(called.sum()), cracks, number)
    if own is None:
        p_value = by_images
    elif groups is not None:
        p_value = replicates.above(own, CHANCE, groups, labels, by_images)
    elif own.scores.var() > 0:
        p_value = statistics.student_above(own.mean - CHANCE, own.scores.var() / number, number - 1)
    elif own.mean > CHANCE:  # without one mistake, whatever the threshold
        p_value = statistics.fisher_exact(cracks, cracks, cracks, number)
    else:
        p_value = 1.0
    return p_value * len(evidence.ranking) < ALPHA


def _baseline(evidence: CorrectnessMatrix, metric: str) -> float | None:
    if evidence.shared is None or metric not in ALWAYS_ALIKE:
        return None
    return ALWAYS_ALIKE[metric](float(evidence.shared.labels.mean()))


def _luck(evidence: CorrectnessMatrix, metric: str, places: Sequence[int]) -> float:
    """The expected maximum of the chance errors of these runs, from the images on which they differ from the first."""
    first = evidence.sample([0], metric)
    others = [one for place in places[1:MOST_READ] if (one := evidence.sample([place], metric)) is not None]
    if first is None or not others:
        return 0.0
    apart = np.stack([one.scores for one in others]) - first.scores
    sums = replicates.by_group(apart, evidence.groups_of(metric))
    variance = float((sums**2).sum(axis=1).mean()) / len(first.scores) ** 2
    return float(np.sqrt(variance / 2)) * statistics.expected_maximum(len(places))
