"""Whether the class of an image can be told from what has nothing to do with cracks."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crackdet.doctor.columns import Column, Kind
from crackdet.doctor.separation import Separation, separate

MAX_P_VALUE = 0.01  # no permutation of 99 may tell the classes apart as well
WEAK_AUC, STRONG_AUC = 0.6, 0.8
MAX_NAMED = 3  # columns
WHAT = {Kind.ORIGIN: "file and colour", Kind.CONTENT: "brightness, contrast and sharpness"}
MEANING = {
    Kind.ORIGIN: (
        "A network can learn this instead of cracks, and then fails on photographs from elsewhere. Take photographs of "
        "both classes from each source, and test on photographs from another one."
    ),
    Kind.CONTENT: (
        "A crack itself makes an image darker, richer in contrast and sharper, so this need not be a fault. It is one "
        "if the classes were photographed in different light or by different cameras."
    ),
}


class Strength(StrEnum):
    NONE = "none"
    WEAK = "weak"
    STRONG = "strong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Confound:
    """What the columns of one kind tell about the class."""

    kind: Kind
    strength: Strength
    verdict: str
    separation: Separation | None  # None: too few groups to tell

    @property
    def rules(self) -> list[str]:
        """The first rules in words."""
        rules = self.separation.rules if self.separation else ()
        return [rule.describe("crack", "no crack") for rule in rules]


def find_confounds(columns: Sequence[Column], cracks: NDArray[np.bool_], groups: Sequence[str]) -> list[Confound]:
    """Return what the columns of the origin, and those of the content, tell about the class.

    Args:
        columns: Each with N values.
        cracks: (N,): True is a crack.
        groups: N names; the images of a group are in one fold.
    """
    found = []
    for kind in Kind:
        separation = separate([column for column in columns if column.kind is kind], cracks, groups)
        strength = grade(separation)
        found.append(Confound(kind, strength, _verdict(kind, strength, separation), separation))
    return found


class Tested(Protocol):
    """How well two sets are told apart, and how probable that is by chance."""

    @property
    def auc(self) -> float: ...

    @property
    def p_value(self) -> float: ...


def grade(found: Tested | None) -> Strength:
    """Return how well two sets are told apart, beyond chance."""
    if found is None:
        return Strength.UNKNOWN
    if found.p_value > MAX_P_VALUE or found.auc < WEAK_AUC:
        return Strength.NONE
    return Strength.STRONG if found.auc >= STRONG_AUC else Strength.WEAK


def _verdict(kind: Kind, strength: Strength, separation: Separation | None) -> str:
    what = WHAT[kind]
    if separation is None:
        return f"Fewer than two groups of a class: whether {what} give the class away cannot be tested."
    if not separation.columns:
        return f"{what.capitalize()} of all images are alike."
    numbers = f"ROC-AUC {separation.auc:.2f} on held-out groups, p = {separation.p_value:.3f}"
    if strength is Strength.NONE and separation.auc >= WEAK_AUC:
        return (
            f"{what.capitalize()} may give the class away ({numbers}), but {separation.num_groups} groups are too few "
            "to exclude chance."
        )
    if strength is Strength.NONE:
        return f"{what.capitalize()} do not give the class away ({numbers})."
    telling = [column for column in separation.columns if column.auc >= WEAK_AUC] or separation.columns[:1]
    named = ", ".join(f"{column.column} (alone {column.auc:.2f})" for column in telling[:MAX_NAMED])
    degree = "give" if strength is Strength.STRONG else "partly give"
    return f"{what.capitalize()} {degree} the class away ({numbers}), most of all {named}. {MEANING[kind]}"
