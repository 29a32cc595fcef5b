"""A decision in plain words, for engineers who build and inspect concrete."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crackdet.analysis.columns import scaled
from crackdet.metrics.sample_size import MIN_OBSERVATIONS
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
MIN_CANDIDATES = 8  # the summary advises to fine-tune at least so many, if a screen has twice as many
NUMBERS = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def sentences(decision: "Decision") -> tuple[str, str]:
    """Return which run is best, and which one is recommended and why."""
    return _best(decision), _recommendation(decision)


def percent(value: float, num_images: int) -> str:
    """Return `96.4 %`, with another digit if there are enough images for it."""
    return f"{100 * value:.{1 if num_images < 1000 else 2}f} %"


def _operations(number: float) -> str:
    """Return `4.2 billion`."""
    return scaled(number, (" trillion", " billion", " million", " thousand"))


def _best(decision: "Decision") -> str:
    best, images = decision.ranked_runs[0], decision.num_images
    number = len(decision.ranked_runs)
    name = METRIC_NAMES[decision.metric]
    value = percent(best.value, images)
    if decision.metric == "accuracy":
        value += f", or {round(best.value * images)} images"
    where = f"on the {images} validation images"
    low, high = (percent(value, images) for value in best.interval)
    expected = f"Expect between {low.removesuffix(' %')} and {high} on other images of the same kind."
    if decision.is_screen:
        probe = f"the linear probe on the frozen features of {best.row.id}"
        leads = f"has the highest {name}" if number > 1 else f"has the {name}"
        return f"Of {number} screened network{'s' * (number > 1)}, {probe} {leads} {where}: {value}. {expected}"
    if number == 1:
        return f"{best.row.id} is the only finished network. Its {name} {where} is {value}. {expected}"
    return f"Of {number} trained networks, {best.row.id} has the highest {name} {where}: {value}. {expected}"


def _recommendation(decision: "Decision") -> str:
    if not decision.best_is_above_chance:
        return _none_recommended(decision)
    if len(decision.ranked_runs) == 1:
        return "There is no other network to compare it with yet."
    if decision.is_screen:
        return _to_fine_tune(decision)
    if decision.recommended.id == decision.best.id:
        return f"Recommended. {_why_best(decision)}"
    return f"Recommended: {decision.recommended.id}. {_why_cheaper(decision)} {_cost(decision)}"


def num_to_fine_tune(decision: "Decision") -> int:
    """Return how many candidates of a screen to train: those that may be the best, at least half of all or eight."""
    number = len(decision.combinations)
    return min(number, max(len(decision.undecided_combinations), min(MIN_CANDIDATES, -(-number // 2))))


def _to_fine_tune(decision: "Decision") -> str:
    number, undecided = len(decision.combinations), len(decision.undecided_combinations)
    first = f"the first {count(chosen).lower()}" if (chosen := num_to_fine_tune(decision)) < number else "all of them"
    text = f"Fine-tune {first} (sweep.top={chosen}) before choosing one."
    if decision.has_too_few_observations:
        return f"{text} On so few images, any difference may be chance."
    if undecided > 1:
        among = "all candidates" if undecided == number else f"the first {count(undecided).lower()}"
        return f"{text} Chance can explain the differences among {among}."
    return f"{text} On these images, the best probe leads by more than chance can explain."


def _none_recommended(decision: "Decision") -> str:
    if decision.chance.has_one_class:
        return "No network is recommended yet: all validation images are of one class."
    if decision.chance.is_above(0) is None:
        return f"No network is recommended yet: {_too_few_to_exclude_chance(decision)}."
    what = "scores" if decision.metric == "roc_auc" else "predictions"
    allowing = []
    if (number := len(decision.ranked_runs)) > 1:
        allowing.append(f"it is the best of {number}")
    if (decision.num_groups or 1) > 1:
        allowing.append("images of one group count as one")
    condition = f", given that {' and that '.join(allowing)}" if allowing else ""
    return f"No network is recommended yet: the {what} of the best one cannot be distinguished from chance{condition}."


def _too_few_to_exclude_chance(decision: "Decision") -> str:
    if decision.num_groups is None:
        return f"{decision.num_images} validation images are too few to distinguish even the best one from chance"
    number, has_crack = min((number, crack) for crack, number in decision.matrix.groups_by_class.items())
    rarer = f"{'contains' if number == 1 else 'contain'} {'a crack' if has_crack else 'images without a crack'}"
    only = f", of which {number} {rarer}," if number < decision.num_groups else ""
    return (
        f"{decision.num_groups} validation groups{only} are too few to distinguish even the best one from chance; "
        f"raise data.valid_fraction, so that each class is in at least {MIN_OBSERVATIONS} groups"
    )


def _why_best(decision: "Decision") -> str:
    """Return why the best run itself is recommended."""
    if decision.cheaper:
        return _why_not_cheaper(decision)
    if len(decision.undecided) > 1:
        return _not_cheaper(decision)
    if decision.num_uncompared == len(decision.ranked_runs) - 1:
        return "It ranks first, but the other networks could not be compared with it."
    lower = "scored lower by more than chance can explain."
    if at_chance := [run for run in decision.ranked_runs if run.undecided and decision.is_at_chance(run.row)]:
        if len(at_chance) == len(decision.ranked_runs) - 1:
            return f"{_others(len(at_chance))} cannot be distinguished from chance."
        lower = "scored lower by more than chance can explain, or cannot be distinguished from chance."
    if decision.num_uncompared:
        return f"Every network that could be compared {lower}"
    if len(decision.undecided_combinations) > 1:
        return f"On these images, every other network {lower}"
    return f"Every other network {lower}"


def _not_cheaper(decision: "Decision") -> str:
    """Return why none of the undecided runs is recommended: none of them is cheaper."""
    best, others = decision.ranked_runs[0], [run for run in decision.undecided if run.row.id != decision.best.id]
    number, ties = len(others), sum(run.value == best.value for run in others)
    if number == len(decision.ranked_runs) - 1:
        who = _others(number)
    else:
        who = f"{count(number)} other network{'s' * (number > 1)}"
    lower = "lower" if decision.has_too_few_observations else "lower by an amount that chance can explain"
    scored = "the same" if ties == number else f"the same, or {lower}" if ties else lower
    cheaper = "clearly cheaper" if any(run.row.flops < best.row.flops for run in others) else "cheaper"
    saving = f"it is not {cheaper}" if number == 1 else f"none of them is {cheaper}"
    return f"{who} scored {scored}, and {saving}."


def _why_not_cheaper(decision: "Decision") -> str:
    """Return why cheaper runs that are not significantly worse than the best are not recommended."""
    runs = [run for run in decision.cheaper if decision.combination(run.row).undecided]
    worse = [run.difference for run in runs if run.difference and is_worse(run.difference)]
    others = [run for run in runs if not (run.difference and is_worse(run.difference))]
    rest = [one for run in others if (one := decision.difference(run.row))]
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
            f"{_cheaper(len(unknown))} may be as good, or up to {points(max(one.high for one in unknown))} worse; "
            f"more {more} would show which is true."
        )
    return " ".join(found)


def _why_cheaper(decision: "Decision") -> str:
    """Return why another run than the best is recommended."""
    best, recommended, images = decision.best, decision.recommended, decision.num_images
    own, other = decision.combination(recommended), decision.combination(best)
    scored = f"It scored {percent(decision.ranked(recommended).value, images)}"
    if decision.ranked(recommended).undecided and other.undecided:
        if decision.has_too_few_observations:
            return f"{scored}, about as much as the best{_range(decision)}."
        return f"{scored}; chance can explain the difference from the best{_range(decision)}."
    if own.mean > other.mean:
        return (
            f"{scored}, but on average over seeds its settings score higher than those of {best.id} "
            f"({percent(own.mean, images)} against {percent(other.mean, images)})."
        )
    leading = percent(decision.combinations[0].mean, images)
    return (
        f"{scored}. On average over seeds, the settings of {best.id} score lower than the best settings by more than "
        f"chance can explain, and the settings of {recommended.id} are close to the best ones "
        f"({percent(own.mean, images)} against {leading})."
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
    better = f" or {points(-difference.low)} better" if difference.low < 0 else ""
    return f" (it may be up to {points(difference.high)} worse{better})"


def _others(number: int) -> str:
    return "The other network" if number == 1 else f"The other {number} networks"


def _cheaper(number: int) -> str:
    return f"{count(number)} cheaper network{'s' * (number > 1)}"


def _lower_by(differences: Sequence[Difference]) -> str:
    smallest = points(min(difference.value for difference in differences))
    return f"{'at least ' * (len(differences) > 1)}{smallest} lower"


def count(number: int) -> str:
    """Return a number as a sentence begins with it."""
    return NUMBERS[number - 1] if number <= len(NUMBERS) else str(number)


def points(share: float) -> str:
    """Return `2.5 points`, in hundredths."""
    number = _short(100 * share)
    return f"{number} point{'s' * (number != '1')}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}"
