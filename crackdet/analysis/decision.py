"""The decision of one ranking: how its runs compare, and which one is recommended."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from crackdet.analysis import narrative
from crackdet.analysis.chance import ChanceTest, constant_answer, selection_bias
from crackdet.analysis.comparison import Combination, RankedRun, compare_combinations, compare_runs, is_cheaper
from crackdet.analysis.correctness import CorrectnessMatrix
from crackdet.analysis.notes import notes
from crackdet.analysis.rows import RunRow, differing_keys
from crackdet.metrics import statistics
from crackdet.metrics.numpy_metrics import Threshold, threshold_for_recall
from crackdet.metrics.sample_size import min_observations
from crackdet.metrics.statistics import Difference
from crackdet.store.predictions import read_predictions


class Verdict(StrEnum):
    """What the decision says about a run."""

    BEST = "best"  # it leads the ranking
    RECOMMENDED = "recommended"
    UNDECIDED = "undecided"  # the difference from the best is not significant
    CHANCE = "chance"  # no better than guessing


@dataclass(frozen=True)
class Decision:
    """How the runs of one ranking compare, and which one is recommended."""

    metric: str
    matrix: CorrectnessMatrix = field(repr=False)
    chance: ChanceTest = field(repr=False)
    ranked_runs: Sequence[RankedRun]  # by rank
    combinations: Sequence[Combination]  # by falling mean
    replicated: bool  # some settings were trained from several seeds, so combinations were compared too
    recommended: RunRow  # the best run itself if its predictions are not above chance, and in a screen
    num_contenders: int  # runs that may be as good as the best, itself included, alone and by their combination
    selection_bias: float  # by how much the best of so many equally good networks looks better than it is
    differing_keys: Sequence[str]  # settings in which the runs differ, the seed included
    baseline: float | None  # the metric of one answer for every image; None if there is no such value

    @property
    def best(self) -> RunRow:
        """The run that leads the ranking."""
        return self.ranked_runs[0].row

    @cached_property
    def is_screen(self) -> bool:
        """Whether all runs are probes of frozen features, which rank candidates for fine-tuning."""
        return are_probes([run.row for run in self.ranked_runs])

    @property
    def num_images(self) -> int:
        """The number of validation images."""
        return self.matrix.num_images

    @property
    def num_groups(self) -> int | None:
        """The number of image groups; None if every image stands alone."""
        return None if self.matrix.groups is None else self.matrix.num_independent

    @property
    def num_observations(self) -> int:
        """The number of groups, or images, in which two runs may differ: for recall, of those with a crack."""
        groups, shared = self.matrix.groups_of(self.metric), self.matrix.shared
        if groups is not None:
            return len(set(groups.tolist()))
        return int(shared.labels.sum()) if self.metric == "recall" and shared is not None else self.num_images

    @cached_property
    def min_observations(self) -> int:
        """With fewer observations no difference can be significant; 0 if there is nothing to compare."""
        comparisons = [number - 1 for number in (len(self.ranked_runs), len(self.combinations)) if number > 1]
        return min_observations(min(comparisons)) if comparisons else 0

    @cached_property
    def has_too_few_observations(self) -> bool:
        """Whether no difference between runs can be significant, whatever the runs predict."""
        return self.num_observations < self.min_observations

    @property
    def best_is_above_chance(self) -> bool:
        return self.chance.is_above(0) is True

    @cached_property
    def undecided(self) -> list[RankedRun]:
        """The best run, and those that are neither significantly worse nor at chance."""
        return [run for run in self.ranked_runs if run.undecided and not self.is_at_chance(run.row)]

    @property
    def cheaper(self) -> list[RankedRun]:
        """Those of the undecided runs that need clearly fewer operations than the best."""
        return [run for run in self.undecided if is_cheaper(run.row, self.best)]

    @property
    def undecided_combinations(self) -> list[Combination]:
        """The best combination, and those that are neither significantly worse nor at chance."""
        return [one for one in self.combinations if one.undecided and not all(map(self.is_at_chance, one.rows))]

    @property
    def num_uncompared(self) -> int:
        """The number of runs that could not be compared with the best."""
        return sum(run.p_value is None for run in self.ranked_runs[1:])

    @property
    def num_compared_combinations(self) -> int:
        return 1 + sum(combination.p_value is not None for combination in self.combinations)

    def p_value(self, compared: RankedRun | Combination) -> float | None:
        """Return the p-value to show; None for the best run, or if it is unknown or not informative.

        A p-value is not informative if no difference could be significant, or if the run is at chance and not
        significantly worse.
        """
        rows = [compared.row] if isinstance(compared, RankedRun) else compared.rows
        tells_nothing = compared.undecided and all(map(self.is_at_chance, rows))
        return None if self.has_too_few_observations or tells_nothing else compared.p_value

    def ranked(self, row: RunRow) -> RankedRun:
        return self.ranked_runs[self._ranks[row.id]]

    def combination(self, row: RunRow) -> Combination:
        """Return the combination that a run belongs to."""
        return self._combinations[row.id]

    def difference(self, row: RunRow) -> Difference | None:
        """Return by how much a run, or its combination if that may be even worse, is worse than the best."""
        differences = (self.ranked(row).difference, self.combination(row).difference)
        known = [one for one in differences if one is not None]
        return max(known, key=lambda one: (not statistics.is_negligible(one), one.high), default=None)

    def is_recommended(self, row: RunRow) -> bool:
        """Return whether a run is recommended; a screen recommends none, but which candidates to fine-tune."""
        return not self.is_screen and self.best_is_above_chance and row.id == self.recommended.id

    def is_at_chance(self, row: RunRow) -> bool:
        """Return whether a run other than the best cannot be distinguished from chance."""
        return row.id != self.best.id and self.chance.is_above(self._ranks[row.id]) is False

    def verdicts(self, row: RunRow) -> list[Verdict]:
        """Return what the table and the files say about a run; empty if it is worse than the best."""
        found = [Verdict.BEST] if row.id == self.best.id else []
        if self.is_recommended(row):
            return [*found, Verdict.RECOMMENDED]
        above = self.chance.is_above(self._ranks[row.id])
        if above is False:
            return [*found, Verdict.CHANCE]
        if found:
            return [*found, *([Verdict.UNDECIDED] if above is None else [])]
        return [Verdict.UNDECIDED] if self.ranked(row).undecided else []

    def combination_verdicts(self, combination: Combination) -> list[Verdict]:
        """Return what the table says about a combination; it is at chance if all of its runs are."""
        found = [Verdict.BEST] if combination is self.combinations[0] else []
        if any(map(self.is_recommended, combination.rows)):
            return [*found, Verdict.RECOMMENDED]
        if all(self.chance.is_above(self._ranks[row.id]) is False for row in combination.rows):
            return [*found, Verdict.CHANCE]
        return found or ([Verdict.UNDECIDED] if combination.undecided else [])

    @property
    def sentences(self) -> tuple[str, str]:
        """The decision in plain words: which run is best, and which one is recommended."""
        return narrative.sentences(self)

    @property
    def notes(self) -> list[str]:
        """The limits of the decision, a sentence each."""
        return notes(self)

    def threshold(self, recall: float, row: RunRow | None = None) -> Threshold | None:
        """Return the threshold at which a run, by default the recommended one, finds this share of the cracks.

        None if its predictions are missing or all images are of one class.
        """
        predictions = read_predictions((row or self.recommended).run)
        if predictions is None or not predictions.labels.any() or predictions.labels.all():
            return None
        return threshold_for_recall(predictions.logits, predictions.labels, recall)

    @cached_property
    def _combinations(self) -> dict[str, Combination]:
        return {row.id: combination for combination in self.combinations for row in combination.rows}

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {run.row.id: rank for rank, run in enumerate(self.ranked_runs)}


def are_probes(rows: Sequence[RunRow]) -> bool:
    """Return whether all runs are probes of frozen features."""
    return all(row.setting("trainer.probe") is True for row in rows)


def decide(ranking: Sequence[RunRow], metric: str = "accuracy") -> Decision:
    """Decide between runs that are ranked by a metric, the best first.

    A run may be recommended instead of the best if it is not at chance, and if neither it nor its combination is
    significantly worse than the best one, or worse by more than about one standard error of the difference. The best
    run itself is recommended unless a clearly cheaper run may replace it, or its own combination is worse than another.
    """
    matrix = CorrectnessMatrix(ranking)
    keys = differing_keys(ranking)
    runs = compare_runs(matrix, metric)
    combinations = compare_combinations(matrix, metric, runs, keys)
    best, chance = ranking[0], ChanceTest(matrix, metric)

    undecided = {run.row.id for run in runs if run.undecided}
    contenders = {row.id for one in combinations if one.undecided for row in one.rows if row.id in undecided}
    near_best = {run.row.id for run in runs if run.near_best}
    candidates = [row for one in combinations if one.near_best for row in one.rows if row.id in near_best]
    if not chance.is_above(0) or are_probes(ranking):
        candidates = [best]
    elif best.id in contenders:  # otherwise its combination is worse than another
        candidates = [best, *(row for row in candidates if is_cheaper(row, best))]
    ranks = {row.id: index for index, row in enumerate(ranking)}
    candidates = sorted(candidates or combinations[0].rows, key=lambda row: (row.flops, -row.value(metric)))
    able = (row for row in candidates if row is best or chance.is_above(ranks[row.id]) is not False)
    recommended = next(able, best)

    indices = [0, *(ranks[row.id] for row in ranking[1:] if row.id in contenders)]
    indices = [index for index in indices if index == 0 or chance.is_above(index) is not False]
    return Decision(
        metric=metric,
        matrix=matrix,
        chance=chance,
        ranked_runs=runs,
        combinations=combinations,
        replicated=any(len(one.rows) > 1 for one in combinations),
        recommended=recommended,
        num_contenders=len(indices),
        selection_bias=selection_bias(matrix, metric, indices),
        differing_keys=keys,
        baseline=constant_answer(matrix, metric),
    )
