"""A decision in plain words, for engineers who build and inspect concrete."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crackdet.analysis.columns import scaled
from crackdet.metrics.statistics import Difference, is_negligible, is_worse

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision

METRIC_NAMES = {
    "accuracy": "accuracy (share of images classified correctly)",
    "f1": "F1 score (balance of recall and precision)",
    "recall": "recall (share of cracks found)",
    "precision": "precision (share of alarms that are cracks)",
    "roc_auc": "ROC-AUC (probability that an image with a crack scores higher than one without)",
}
NUMBERS = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def sentences(decision: "Decision") -> tuple[str, str]:
    """Return which run is best, and which one is recommended and why."""
    return _best(decision), _recommendation(decision)


def notes(decision: "Decision") -> list[str]:
    """Return the limits of the decision."""
    found = [_selection_bias(decision), _combinations(decision), _constant_answer(decision), _groups(decision)]
    if decision.replicated and decision.num_compared_combinations < len(decision.combinations):
        found.append(f"Only the first {decision.num_compared_combinations} combinations were compared with the best.")
    if not decision.recommended.run.weights_file.exists():
        found.append(
            f"The weights of {decision.recommended.id} have been removed; train it again with its settings and "
            "runtime.retrain=true."
        )
    if unknown := decision.num_uncompared:
        which = "One network was" if unknown == 1 else f"{_count(unknown)} networks were"
        found.append(f"{which} not compared with the best: their predictions are missing or were not read.")
    return [note for note in found if note]


def _percent(value: float, num_images: int) -> str:
    """Return `96.4 %`, with another digit if there are enough images for it."""
    return f"{100 * value:.{1 if num_images < 1000 else 2}f} %"


def _operations(number: float) -> str:
    """Return `4.2 billion`."""
    return scaled(number, (" trillion", " billion", " million", " thousand"))


def _best(decision: "Decision") -> str:
    best, images = decision.ranked_runs[0], decision.num_images
    number = len(decision.ranked_runs)
    name = METRIC_NAMES[decision.metric]
    value = _percent(best.value, images)
    if decision.metric == "accuracy":
        value += f", or {round(best.value * images)} images"
    where = f"on the {images} validation images"
    low, high = (_percent(value, images) for value in best.interval)
    expected = f"Expect between {low.removesuffix(' %')} and {high} on other images of the same kind."
    if number == 1:
        return f"{best.row.id} is the only finished network. Its {name} {where} is {value}. {expected}"
    return f"Of {number} trained networks, {best.row.id} has the highest {name} {where}: {value}. {expected}"


def _recommendation(decision: "Decision") -> str:
    if not decision.best_is_above_chance:
        return _none_recommended(decision)
    if len(decision.ranked_runs) == 1:
        return "There is no other network to compare it with yet."
    if decision.recommended.id == decision.best.id:
        return f"Recommended. {_why_best(decision)}"
    return f"Recommended: {decision.recommended.id}. {_why_cheaper(decision)} {_cost(decision)}"


def _none_recommended(decision: "Decision") -> str:
    what = "scores" if decision.metric == "roc_auc" else "predictions"
    allowing = []
    if (number := len(decision.ranked_runs)) > 1:
        allowing.append(f"it is the best of {number}")
    if (decision.num_groups or 1) > 1:
        allowing.append("images of one group count as one")
    condition = f", given that {' and that '.join(allowing)}" if allowing else ""
    return f"No network is recommended yet: the {what} of the best one cannot be distinguished from chance{condition}."


def _why_best(decision: "Decision") -> str:
    """Return why the best run itself is recommended."""
    others = [run for run in decision.equivalent if run.row.id != decision.best.id]
    if decision.cheaper:
        return _why_not_cheaper(decision)
    if others:
        return _not_cheaper(decision)
    if decision.num_uncompared == len(decision.ranked_runs) - 1:
        return "It ranks first, but the other networks could not be compared with it."
    lower = "scored lower by more than chance can explain."
    if decision.num_uncompared:
        return f"Every network that could be compared {lower}"
    if len(decision.equivalent_combinations) > 1:
        return f"On these images, every other network {lower}"
    return f"Every other network {lower}"


def _not_cheaper(decision: "Decision") -> str:
    """Return why none of the equivalent runs is recommended: they save nothing."""
    best, others = decision.ranked_runs[0], [run for run in decision.equivalent if run.row.id != decision.best.id]
    number, ties = len(others), sum(run.value == best.value for run in others)
    if number == len(decision.ranked_runs) - 1:
        who = "The other network" if number == 1 else f"The other {number} networks"
    else:
        who = f"{_count(number)} other network{'s' * (number > 1)}"
    lower = "lower by an amount that chance can explain"
    scored = "the same" if ties == number else f"the same, or {lower}" if ties else lower
    cheaper = "clearly cheaper" if any(run.row.flops < best.row.flops for run in others) else "cheaper"
    saving = f"it is not {cheaper}" if number == 1 else f"none of them is {cheaper}"
    return f"{who} scored {scored}, and {saving}."


def _why_not_cheaper(decision: "Decision") -> str:
    """Return why cheaper runs that are equivalent to the best are not recommended."""
    runs = [run for run in decision.cheaper if decision.combination(run.row).equivalent]
    worse = [run.difference for run in runs if run.difference and is_worse(run.difference)]
    rest = [one for run in runs if run.difference not in worse and (one := decision.difference(run.row))]
    worse_settings = [one for one in rest if is_worse(one)]
    unknown = [one for one in rest if not is_worse(one) and not is_negligible(one)]
    unit = "images" if decision.num_groups is None else "groups"
    found = []
    if number := len(decision.cheaper) - len(runs):
        their = "their" if number > 1 else "its"
        found.append(
            f"{_cheaper(number)} scored lower by an amount that chance can explain, but on average over seeds {their} "
            "settings score lower by more than that."
        )
    if worse:
        only = "only " if decision.num_groups is not None else ""
        found.append(
            f"{_cheaper(len(worse))} scored {_lower_by(worse)}, which is more than one standard error. With {only}"
            f"{decision.num_groups or decision.num_images} validation {unit} that is not proven; a larger "
            f"data.valid_fraction gives more {unit}."
        )
    if worse_settings:
        found.append(
            f"On average over seeds, the settings of {_cheaper(len(worse_settings)).lower()} scored "
            f"{_lower_by(worse_settings)}, which is more than one standard error. That is not proven; more seeds would "
            "settle it."
        )
    if unknown:
        more = f"validation {unit}{' or seeds' if decision.replicated else ''}"
        found.append(
            f"{_cheaper(len(unknown))} may be as good, or up to {_points(max(one.high for one in unknown))} worse; "
            f"more {more} would settle it."
        )
    return " ".join(found)


def _why_cheaper(decision: "Decision") -> str:
    """Return why another run than the best is recommended."""
    best, recommended, images = decision.best, decision.recommended, decision.num_images
    own, other = decision.combination(recommended), decision.combination(best)
    scored = f"It scored {_percent(decision.ranked(recommended).value, images)}"
    if decision.ranked(recommended).equivalent and other.equivalent:
        return f"{scored}; chance can explain the difference from the best{_range(decision)}."
    if own.mean > other.mean:
        return (
            f"{scored}, but on average over seeds its settings score higher than those of {best.id} "
            f"({_percent(own.mean, images)} against {_percent(other.mean, images)})."
        )
    leading = _percent(decision.combinations[0].mean, images)
    return (
        f"{scored}. On average over seeds, the settings of {best.id} score lower than the best settings by more than "
        f"chance can explain, and the settings of {recommended.id} are close to the best ones "
        f"({_percent(own.mean, images)} against {leading})."
    )


def _cost(decision: "Decision") -> str:
    before, after = (float(row.result.get("feature_flops") or 0) for row in (decision.best, decision.recommended))
    if not before or not after:
        return "How much computation it needs is unknown."
    ratio = before / after
    saving = f"({_operations(after)} instead of {_operations(before)} operations per image)"
    if ratio < 1:
        return f"It needs {_short(1 / ratio)} times the computation {saving}."
    if ratio == 1:
        return f"It needs as much computation ({_operations(before)} operations per image)."
    return f"It needs only {_short(100 / ratio)} % of the computation {saving}."


def _range(decision: "Decision") -> str:
    """Return by how much the recommended run may be worse or better than the best."""
    difference = decision.difference(decision.recommended)
    if difference is None:
        return ""
    better = f" or {_points(-difference.low)} better" if difference.low < 0 else ""
    return f" (it may be up to {_points(difference.high)} worse{better})"


def _selection_bias(decision: "Decision") -> str:
    number, bias = decision.num_contenders, decision.selection_bias
    if number < 2 or bias <= 0:
        return ""
    return (
        f"Picking the best of {number} inflates its score: if all {number} were equally good, the winner would still "
        f"look about {_points(bias)} better than it is."
    )


def _combinations(decision: "Decision") -> str:
    if not decision.replicated:
        return ""
    number = len(decision.combinations)
    runs = sum(len(one.rows) for one in decision.combinations)
    text = f"The {runs} networks are {number} combination{'s' * (number > 1)} of settings"
    if number == 1 or decision.num_compared_combinations < number:
        return f"{text}."
    equivalent = len(decision.equivalent_combinations) - 1
    if equivalent:
        others = "the other" if number == 2 else "the others"
        which = others if equivalent == number - 1 else f"{equivalent} of the {number - 1} others"
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
        f"Giving the same answer for every image scores {_percent(decision.baseline, decision.num_images)}, no less "
        f"than the best network{rare}."
    )


def _groups(decision: "Decision") -> str:
    if decision.num_groups is None:
        return ""
    if decision.num_groups == 1:
        return "All validation images are of one group, so nothing is known about images of other groups."
    return (
        f"The validation images come from {decision.num_groups} groups. Each group counts as one observation in "
        "comparisons and intervals."
    )


def _cheaper(number: int) -> str:
    return f"{_count(number)} cheaper network{'s' * (number > 1)}"


def _lower_by(differences: Sequence[Difference]) -> str:
    smallest = _points(min(difference.value for difference in differences))
    return f"{'at least ' * (len(differences) > 1)}{smallest} lower"


def _count(number: int) -> str:
    """Return a number as a sentence begins with it."""
    return NUMBERS[number - 1] if number <= len(NUMBERS) else str(number)


def _points(share: float) -> str:
    number = _short(100 * share)
    return f"{number} point{'s' * (number != '1')}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}"
