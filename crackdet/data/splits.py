"""Which photographs a run trains on, chooses by, and never sees.

Where the source has splits of its own they stand; what is missing is drawn, stratified by class and whole
groups at a time. Byte-identical copies count as one group: on both sides of a split they would leak.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from crackdet.config.schema import Data
from crackdet.core.errors import UserError
from crackdet.data.sources import ImageRecord

SPLITS = ("train", "valid", "test")


def split(photographs: Sequence[ImageRecord], data: Data) -> dict[str, list[ImageRecord]]:
    """Train, valid and test photographs, each in canonical order.

    Raises:
        UserError: where a split would lack one of the two classes.
    """
    given: dict[str, list[ImageRecord]] = {name: [] for name in SPLITS}
    undecided: list[ImageRecord] = []
    for photograph in photographs:
        (undecided if photograph.split is None else given[photograph.split]).append(photograph)
    own_test = given.pop("test")  # outside the fingerprint, so it must not decide what is trained on
    if undecided:
        given = _draw(undecided, {"valid": data.valid_fraction, "test": data.test_fraction}, data)
    elif not given["valid"]:
        given = _draw(given["train"], {"valid": data.valid_fraction}, data)
    if data.max_images is not None:
        given = _subset(given, data.max_images, data)
    splits = {**given, "test": own_test or given.get("test", [])}
    check_classes(splits)
    return {name: sorted(members, key=lambda photograph: photograph.order) for name, members in splits.items()}


def leakage_warnings(splits: Mapping[str, Sequence[ImageRecord]]) -> list[str]:
    """What is doubtful of splits, a sentence each: labels that disagree, and what two given ones have in common."""
    said = []
    everything = [photograph for name in SPLITS for photograph in splits[name]]
    labels = {(photograph.digest, photograph.crack) for photograph in everything}
    doubtful = [one for one in everything if (one.digest, not one.crack) in labels]
    if doubtful:
        said.append(
            f"data: {len(doubtful)} photographs are there with a crack and, as copies, without one, such as "
            f"{doubtful[0].name}: one of the labels is wrong"
        )
    for first, second in combinations(SPLITS, 2):
        members, others = splits[second], splits[first]
        copies = {photograph.digest for photograph in others}
        groups = {photograph.group for photograph in others} - {None, ""}
        for what, shared in (
            ("are copies of some in", [photograph for photograph in members if photograph.digest in copies]),
            ("are of groups that are also in", [photograph for photograph in members if photograph.group in groups]),
        ):
            if shared:
                said.append(
                    f"data: {len(shared)} of {len(members)} {second} photographs {what} {first}, such as "
                    f"{shared[0].name}: what is measured on them is too good"
                )
    return said


def no_split(name: str) -> UserError:
    """What is to be raised where a split is asked for that the data does not have."""
    return UserError(
        f"data: has no {name} split; a run with data.test_fraction draws one, of data without splits of its own"
    )


def check_classes(splits: Mapping[str, Sequence[ImageRecord]]) -> None:
    """There may be no test split; the others need both classes.

    Raises:
        UserError: where a split lacks one.
    """
    for name, members in splits.items():
        for crack in (False, True) if members or name != "test" else ():
            if not any(photograph.crack is crack for photograph in members):
                raise UserError(
                    f"data: the {name} split has no image with{'' if crack else 'out'} a crack; "
                    "give more images, another data.valid_fraction, or another data.split_seed"
                )


def _draw(photographs: Sequence[ImageRecord], fractions: dict[str, float], data: Data) -> dict[str, list[ImageRecord]]:
    """Groups in random order; one goes to a split while at least half of its images are still wanted there."""
    units = _units(photographs)
    totals = _by_class(photographs)
    wanted = {
        name: {crack: round(fraction * count) for crack, count in totals.items()}
        for name, fraction in fractions.items()
    }
    result: dict[str, list[ImageRecord]] = {name: [] for name in SPLITS}
    order = np.random.default_rng([data.split_seed, 0]).permutation(len(units))
    for index in order:
        unit = units[index]
        counts = _by_class(unit)
        for name, open_places in wanted.items():
            if 2 * sum(min(n, max(open_places[crack], 0)) for crack, n in counts.items()) >= len(unit):
                for crack, n in counts.items():
                    open_places[crack] -= n
                result[name] += unit
                break
        else:
            result["train"] += unit
    return result


def _units(photographs: Sequence[ImageRecord]) -> list[list[ImageRecord]]:
    """What must stay together: copies, groups, and groups that share a copy."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents.setdefault(key, key) != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    for photograph in photographs:
        if photograph.group:
            parents[root(photograph.digest)] = root(f"group {photograph.group}")
    units: dict[str, list[ImageRecord]] = defaultdict(list)
    for photograph in photographs:
        units[root(photograph.digest)].append(photograph)
    return list(units.values())


def _subset(given: dict[str, list[ImageRecord]], max_images: int, data: Data) -> dict[str, list[ImageRecord]]:
    """So many images in all, with the proportions of splits and classes; a larger subset holds the smaller."""
    cells = {
        (name, crack): [photograph for photograph in members if photograph.crack is crack]
        for name, members in given.items()
        for crack in (False, True)
    }
    # Adams' apportionment: each cell gets one, then the least served gets the next. Rounding shares by their
    # largest remainders would take an image away here and there as max_images grows.
    places = [(place / len(members), cell) for cell, members in cells.items() for place in range(len(members))]
    quota = Counter(cell for _, cell in sorted(places, key=lambda place: place[0])[:max_images])
    result: dict[str, list[ImageRecord]] = {name: [] for name in SPLITS}
    for number, ((name, crack), members) in enumerate(cells.items()):
        order = np.random.default_rng([data.split_seed, 1, number]).permutation(len(members))
        result[name] += [members[i] for i in order[: quota[name, crack]]]
    return result


def _by_class(photographs: Sequence[ImageRecord]) -> dict[bool, int]:
    return {crack: sum(photograph.crack is crack for photograph in photographs) for crack in (False, True)}
