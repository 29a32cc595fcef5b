"""Recommend a run of a ranking: the cheapest that may stand for the best."""

from collections.abc import Sequence

from crackdet.analysis.chance import constant_answer, is_above_chance, selection_bias
from crackdet.analysis.comparison import compare_combinations, compare_runs, is_cheaper
from crackdet.analysis.correctness import CorrectnessMatrix
from crackdet.analysis.decision import Decision
from crackdet.analysis.rows import RunRow, differing_keys


def decide(ranking: Sequence[RunRow], metric: str = "accuracy") -> Decision | None:
    """Decide between runs that are ranked by a metric, the best first; None if results do not name their images.

    A run may stand for the best if it and its combination are equivalent to the best ones, and worse by at most about
    one standard error of the difference. The best run itself is recommended unless a clearly cheaper run may stand for
    it, or its own combination is worse than another.
    """
    matrix = CorrectnessMatrix(ranking)
    if not matrix.num_images:
        return None
    keys = differing_keys(ranking)
    runs = compare_runs(matrix, metric)
    combinations = compare_combinations(matrix, metric, runs, keys)
    best, learned = ranking[0], is_above_chance(matrix, 0, metric)

    equivalent = {run.row.id for run in runs if run.equivalent}
    contenders = {row.id for one in combinations if one.equivalent for row in one.rows if row.id in equivalent}
    near_best = {run.row.id for run in runs if run.near_best}
    candidates = [row for one in combinations if one.near_best for row in one.rows if row.id in near_best]
    if not learned:
        candidates = [best]
    elif best.id in contenders:  # otherwise its combination is worse than another
        candidates = [best, *(row for row in candidates if is_cheaper(row, best))]
    recommended = min(candidates or combinations[0].rows, key=lambda row: (row.flops, -row.value(metric)))

    indices = [index for index, row in enumerate(ranking) if index == 0 or row.id in contenders]
    return Decision(
        metric=metric,
        matrix=matrix,
        ranked_runs=runs,
        combinations=combinations,
        replicated=any(len(one.rows) > 1 for one in combinations),
        recommended=recommended,
        num_contenders=len(indices),
        selection_bias=selection_bias(matrix, metric, indices),
        differing_keys=keys,
        baseline=constant_answer(matrix, metric),
        learned=learned,
    )
