"""The limits of a decision in plain words."""

from typing import TYPE_CHECKING

from crackdet.analysis.narrative import count, percent, points

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision


def notes(decision: "Decision") -> list[str]:
    """Return the limits of the decision."""
    found = [
        _screen(decision),
        _selection_bias(decision),
        _combinations(decision),
        _constant_answer(decision),
        _observations(decision),
    ]
    if decision.replicated and decision.num_compared_combinations < len(decision.combinations):
        found.append(f"Only the first {decision.num_compared_combinations} combinations were compared with the best.")
    if not decision.recommended.run.has_weights:
        found.append(
            f"The weights of {decision.recommended.id} have been removed; train it again with its settings and "
            "runtime.retrain=true."
        )
    if unknown := decision.num_uncompared:
        which = "One network was" if unknown == 1 else f"{count(unknown)} networks were"
        found.append(f"{which} not compared with the best: their predictions are missing or were not read.")
    return [note for note in found if note]


def _screen(decision: "Decision") -> str:
    if not decision.is_screen:
        return ""
    return (
        "A probe, nearest neighbours (k-NN) and LogME rank features as they are. Fine-tuning changes the features and "
        "may reorder the candidates."
    )


def _selection_bias(decision: "Decision") -> str:
    number, bias = decision.num_contenders, decision.selection_bias
    if number < 2 or bias <= 0:
        return ""
    return (
        f"Picking the best of {number} inflates its score: if all {number} were equally good, the winner would still "
        f"look about {points(bias)} better than it is."
    )


def _combinations(decision: "Decision") -> str:
    if not decision.replicated:
        return ""
    number = len(decision.combinations)
    runs = sum(len(one.rows) for one in decision.combinations)
    text = f"The {runs} networks are {number} combination{'s' * (number > 1)} of settings"
    is_compared = decision.num_compared_combinations == number and not decision.has_too_few_observations
    if number == 1 or not is_compared or not decision.best_is_above_chance:
        return f"{text}."
    undecided = len(decision.undecided_combinations) - 1
    if undecided:
        others = "the other" if number == 2 else "the others"
        which = others if undecided == number - 1 else f"{undecided} of the {number - 1} others"
        return f"{text}. On average over seeds, chance can explain the difference between the best one and {which}."
    return f"{text}. On average over seeds, the best one leads by more than chance can explain."


def _constant_answer(decision: "Decision") -> str:
    if (
        not decision.best_is_above_chance
        or decision.baseline is None
        or decision.baseline < decision.ranked_runs[0].value
    ):
        return ""
    rare = ", because one class is rare. Rank by another metric (--by f1)" if decision.metric == "accuracy" else ""
    return (
        f"Giving the same answer for every image scores {percent(decision.baseline, decision.num_images)}, no less "
        f"than the best network{rare}."
    )


def _observations(decision: "Decision") -> str:
    if decision.num_groups == 1:
        return (
            "All validation images are of one group, so nothing is known about images of other groups; raise "
            "data.valid_fraction."
        )
    if decision.has_too_few_observations:
        number, unit = decision.num_observations, "image" if decision.num_groups is None else "group"
        units = f"{unit}{'s' * (number != 1)}{' with a crack' * (decision.metric == 'recall')}"
        return (
            f"Only {number} validation {units}: no difference can be significant; raise data.valid_fraction "
            f"({decision.min_observations} {unit}s can show a difference)."
        )
    if decision.num_groups is None:
        return ""
    return (
        f"The validation images come from {decision.num_groups} groups. Each group counts as one observation in "
        "comparisons and intervals."
    )
