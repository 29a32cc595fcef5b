"""A decision in plain words, for those who build and inspect concrete."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crackdet.analysis.rows import RunRow

if TYPE_CHECKING:
    from crackdet.analysis.decision import Decision
    from crackdet.metrics.statistics import Difference, Interval

NAMES = {
    "accuracy": "share of photographs judged rightly",
    "f1": "balance of cracks found and alarms that are true (F1)",
    "recall": "share of cracks found",
    "precision": "share of alarms that are true",
    "roc_auc": "chance that a crack scores above sound concrete (ROC-AUC)",
}


def sentences(decision: "Decision") -> tuple[str, str]:
    best = decision.standings[0]
    number = len(decision.standings)
    count = ""
    if decision.metric == "accuracy":
        count = f", {round(best.value * decision.images)} of them,"
    first = (
        f"Of {number} trained networks, {best.entry.id} has" if number > 1 else f"{best.entry.id} has"
    ) + (
        f" the highest {NAMES[decision.metric]} on the {decision.images} validation photographs: "
        f"{percent(best.value, decision.images)}{count} and between {span(best.interval, decision.images)} is to be "
        "expected on other photographs of the same kind."
    )  # fmt: skip
    if number == 1:
        first = first.replace("the highest", "a")
    return fitting(first, best.entry), fitting(_advice(decision), best.entry)


def fitting(text: str, entry: RunRow) -> str:
    """The text with what the images of a run are called, where they are no photographs."""
    return text.replace("photograph", "drawing") if entry.setting("data.name") == "synthetic" else text


def _advice(decision: "Decision") -> str:
    best, chosen = decision.best, decision.recommended
    number = len(decision.equivalent)
    if not decision.learned:
        what = "its scores" if decision.metric == "roc_auc" else "what it calls a crack"
        of_many = f", being the best of {len(decision.standings)}" if len(decision.standings) > 1 else ""
        as_one = ", where the photographs of a group count as one" if (decision.groups or 1) > 1 else ""
        return f"Take none yet: {what} cannot be told from chance{of_many}{as_one}."
    if len(decision.standings) == 1:
        return "It is the only one that has finished, so there is nothing to choose between yet."
    if chosen.id == best.id and number == 1 and decision.uncompared:
        if decision.uncompared == len(decision.standings) - 1:
            return "Take it: it leads, but the others could not be compared with it."
        return "Take it: no other that could be compared does as well, beyond what chance explains."
    if chosen.id == best.id:
        if number == 1 and len(decision.equivalent_combinations) == 1:
            return "Take it: no other does as well, beyond what chance explains."
        if number == 1:
            return "Take it: no other network does as well on these photographs, beyond what chance explains."
        if decision.cheaper:
            return f"Take it: {_not_taken(decision)}."
        return f"Take it: of the {number} networks that chance does not tell apart, none is clearly cheaper to run."
    value = percent(decision.standing(chosen).value, decision.images)
    cost = _cost(best, chosen)
    if decision.standing(chosen).equivalent and decision.combination(best).equivalent:
        same = f"with {value} these photographs cannot tell it from the best{_reach(decision)}"
        return f"Take {chosen.id}: {same}, and {cost}."
    own, other = decision.combination(chosen), decision.combination(best)
    if own.mean <= other.mean:
        leading = decision.combinations[0]
        return (
            f"Take {chosen.id}, with {value}, all the same: trained again from other seeds the settings of {best.id} "
            f"do worse on average than others, to which these come close ({percent(own.mean, decision.images)} against "
            f"{percent(leading.mean, decision.images)}), and {cost}."
        )
    return (
        f"Take {chosen.id}, with {value}, all the same: trained again from other seeds its settings do better on "
        f"average ({percent(own.mean, decision.images)} against {percent(other.mean, decision.images)}), and {cost}."
    )


def _not_taken(decision: "Decision") -> str:
    """Why cheaper networks that these photographs do not tell from the best are not taken."""
    from crackdet.metrics.statistics import behind, negligible

    alike = [one for one in decision.cheaper if decision.combination(one.entry).equivalent]
    worse = [one.gap for one in alike if one.gap and behind(one.gap)]
    others = [gap for one in alike if not (one.gap and behind(one.gap)) and (gap := decision.gap(one.entry))]
    again = [gap for gap in others if behind(gap)]
    unknown = [gap for gap in others if not behind(gap) and not negligible(gap)]
    said = []
    if number := len(decision.cheaper) - len(alike):
        their = "their" if number > 1 else "its"
        said.append(
            f"these photographs alone do not tell {_cheaper(number)} from it, but trained again from other seeds "
            f"{their} settings do worse on average"
        )
    if worse:
        they = "they" if len(worse) > 1 else "it"
        said.append(
            f"these photographs do not prove {_cheaper(len(worse))} worse, but {they} did worse by {_least(worse)}, "
            f"which is beyond one standard error; more {_draws(decision)} would tell"
        )
    if again:
        said.append(
            f"the settings of {_cheaper(len(again))} are not proved worse, but did worse on average by "
            f"{_least(again)}, which is beyond one standard error; more seeds would tell"
        )
    if unknown:
        many = [_draws(decision), *(["seeds"] if decision.replicated else [])]
        said.append(
            f"{_cheaper(len(unknown))} may be as good, or worse by {_points(max(gap.high for gap in unknown))}: more "
            f"{' or '.join(many)} would tell"
        )
    return "; ".join(said)


def _draws(decision: "Decision") -> str:
    return "photographs" if decision.groups is None else "groups of photographs"


def _cheaper(number: int) -> str:
    return f"{number} cheaper ones" if number > 1 else "a cheaper one"


def _least(gaps: Sequence["Difference"]) -> str:
    least = _points(min(gap.value for gap in gaps))
    return f"{least} or more" if len(gaps) > 1 else least


def _reach(decision: "Decision") -> str:
    """How much better or worse than the best the recommended network may be."""
    gap = decision.gap(decision.recommended)
    if gap is None:
        return ""
    worse = f"it may be up to {_points(gap.high)} worse"
    return f" ({worse}, or {_points(-gap.low)} better)" if gap.low < 0 else f" ({worse})"


def _points(share: float) -> str:
    return f"{_short(100 * share)} points"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}"


def _cost(best: RunRow, chosen: RunRow) -> str:
    before, after = (float(entry.result.get("feature_flops") or 0) for entry in (best, chosen))
    if not before or not after:
        return "what it costs to run is not known"
    ratio = before / after
    listed = f"({operations(after)} instead of {operations(before)} operations a photograph)"
    if ratio < 1:
        return f"it needs {_short(1 / ratio)} times the computing {listed}"
    if ratio == 1:
        return f"it needs as much computing ({operations(before)} operations a photograph)"
    return f"it needs only {_share(1 / ratio)} of the computing {listed}"


def notes(decision: "Decision") -> list[str]:
    """The decision's reservations, a sentence each."""
    said: list[str] = []
    if decision.alike > 1 and decision.luck > 0:
        points = 100 * decision.luck
        said.append(
            f"The best of many looks better than it is: of {decision.alike} networks that are equally good, the best "
            f"is expected to show {points:.2g} points too much on these photographs, by luck alone."
        )
    if decision.replicated:
        runs = sum(len(one.entries) for one in decision.combinations)
        count = len(decision.combinations)
        what = f"{runs} networks are {count} combination{'s' if count > 1 else ''} of settings"
        others = len(decision.equivalent_combinations) - 1
        if count == 1 or decision.compared < count:
            said.append(f"{what}.")
        elif others:
            said.append(f"{what}; trained again, {others} of the {count - 1} others cannot be told from the best one.")
        else:
            said.append(f"{what}; trained again, the best one can be told from all others.")
    best = decision.standings[0].value
    if decision.learned and decision.baseline is not None and decision.baseline >= best:
        rare = ", since one class is rare: another metric tells networks apart better (--by f1)"
        said.append(
            f"One and the same answer for every photograph reaches {percent(decision.baseline, decision.images)} as "
            f"well{rare if decision.metric == 'accuracy' else ''}."
        )
    if decision.groups == 1:
        said.append("The photographs are all of one group: what they say of others is not known.")
    elif decision.groups is not None:
        said.append(
            f"The photographs come from {decision.groups} groups, each of which counts as one draw in comparisons and "
            "intervals."
        )
    if decision.replicated and decision.compared < len(decision.combinations):
        said.append(f"Only the first {decision.compared} combinations were compared with the best.")
    if not decision.recommended.run.weights_file.exists():
        said.append(
            f"The weights of {decision.recommended.id} have been removed; runtime.retrain=true with its settings trains "
            "it again."
        )
    if unknown := decision.uncompared:
        which = "1 network was" if unknown == 1 else f"{unknown} networks were"
        said.append(f"{which} not compared with the best: only figures are known, or were read.")
    return [fitting(text, decision.best) for text in said]


def percent(value: float, images: int) -> str:
    """`96.4 %`; with more digits where there are images enough for them."""
    return f"{100 * value:.{_digits(images)}f} %"


def span(interval: "Interval", images: int) -> str:
    """`95.4 and 97.2 %`."""
    return f"{100 * interval.low:.{_digits(images)}f} and {percent(interval.high, images)}"


def operations(number: float) -> str:
    """`4.2 billion`."""
    for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if number >= size:
            return f"{number / size:.3g}{word}"
    return f"{number:.3g}"


def listing(names: Sequence[str], most: int = 5) -> str:
    """`a, b, c and 4 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _share(ratio: float) -> str:
    return f"{_short(100 * ratio)} %"


def _digits(images: int) -> int:
    return 1 if images < 1000 else 2
