"""The split of images into train, valid and test.

Splits that the source defines are kept. Missing ones are random, stratified by class, and keep groups together.
Identical files form one group: copies on both sides of a split would leak.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from crackdet.config.schema import Data
from crackdet.core.disjoint_sets import join
from crackdet.core.errors import UserError
from crackdet.data.negatives import Scores, choose_negatives
from crackdet.data.records import ImageRecord

SPLITS = ("train", "valid", "test")

MORE_IMAGES = "give more images, another data.valid_fraction, or another data.split_seed"

Splits = dict[str, list[ImageRecord]]


class SplitCache:
    """The last split and its warnings: every run of a sweep asks for the same ones."""

    def __init__(self) -> None:
        self._key: tuple[str, list[ImageRecord], Scores | None, bool] | None = None
        self._value: tuple[Splits, list[str]] = {}, []

    def get(
        self, records: list[ImageRecord], data: Data, scores: Scores | None = None, both_classes: bool = True
    ) -> tuple[Splits, list[str]]:
        """Return `split(records, data, scores, both_classes)` and warnings about leakage and unfilled splits.

        Raises:
            UserError: If a split would lack one of the two classes.
        """
        key = repr(data), records, scores, both_classes
        if self._key != key:
            splits = split(records, data, scores, both_classes)
            self._value = splits, leakage_warnings(splits) + unfilled_warnings(splits, records, data)
            self._key = key
        return self._value


def split(
    records: Sequence[ImageRecord], data: Data, scores: Scores | None = None, both_classes: bool = True
) -> Splits:
    """Return the train, valid and test records, each in canonical order.

    Args:
        scores: Logits of tiles by a run, for the choice of hard negatives.
        both_classes: Whether each split needs both classes, as for training.

    Raises:
        UserError: If a split would lack a class that it needs.
    """
    splits = assign_splits(records, data)
    splits = {
        name: choose_negatives(members, data, scores if name == "train" else None) for name, members in splits.items()
    }
    if data.max_images is not None:
        # the test split of the source is not part of the fingerprint, so it must not influence the other splits
        own_test = {"test": splits.pop("test")} if any(record.split == "test" for record in records) else {}
        splits = _subset(splits, data.max_images, data) | own_test
    if both_classes and (missing := _missing_class(splits)) is not None:
        name, crack = missing
        large = "" if is_given(name, records) else _describe_large_group(records, crack)
        raise UserError(f"data: the {name} split has no {_images(crack)}; {large or MORE_IMAGES}")
    return {name: sorted(members, key=lambda record: record.sort_key) for name, members in splits.items()}


def assign_splits(records: Sequence[ImageRecord], data: Data) -> Splits:
    """Return the train, valid and test records before negatives and a subset are chosen."""
    splits: Splits = {name: [] for name in SPLITS}
    unassigned: list[ImageRecord] = []
    for record in records:
        (unassigned if record.split is None else splits[record.split]).append(record)
    own_test = splits.pop("test")  # must not influence the other splits
    if unassigned:
        splits = _random_split(unassigned, {"valid": data.valid_fraction, "test": data.test_fraction}, data)
    elif not splits["valid"]:
        splits = _random_split(splits["train"], {"valid": data.valid_fraction}, data)
    return splits | {"test": own_test or splits.get("test", [])}


def leakage_warnings(splits: Mapping[str, Sequence[ImageRecord]]) -> list[str]:
    """Return warnings about contradictory labels, and about copies and groups that two splits share."""
    warnings = []
    everything = [record for name in SPLITS for record in splits[name]]
    copies = _copies(everything)
    contradictory = [members for members in copies if len({record.crack for record in members}) == 2]
    if contradictory:
        first = next(record for record in contradictory[0] if record.crack)
        second = next(record for record in contradictory[0] if not record.crack)
        warnings.append(
            f"data: {sum(map(len, contradictory))} images have an identical copy with the other label, such as "
            f"{first.name} (crack) and {second.name} (no crack): one of the labels is wrong"
        )
    if joined := _across_groups(copies):
        groups = {record.group for members in joined for record in members if record.group}
        warnings.append(
            f"data: identical images join {len(groups)} groups, which stay in one split, such as {_joined(joined[0])}"
        )
    for earlier, later in combinations(SPLITS, 2):
        digests = {record.digest: record.name for record in splits[earlier]}
        named = {record.group: record.name for record in splits[earlier] if record.group}
        for what, others, shared in (
            ("are copies of images in", digests, [(r, r.digest) for r in splits[later] if r.digest in digests]),
            ("belong to groups that are also in", named, [(r, r.group) for r in splits[later] if r.group in named]),
        ):
            if shared:
                record, key = shared[0]
                warnings.append(
                    f"data: {len(shared)} of {len(splits[later])} {later} images {what} {earlier}, such as "
                    f"{record.name} and {others[key]}: scores on the {later} split will be too high"
                )
    return warnings


def unfilled_warnings(
    splits: Mapping[str, Sequence[ImageRecord]], records: Sequence[ImageRecord], data: Data
) -> list[str]:
    """Return warnings about splits that lack at least half of their share of a class, because a group is too large."""
    warnings = []
    for name in ("valid", "test"):
        fraction = getattr(data, f"{name}_fraction")
        for crack in () if is_given(name, records) else (True, False):
            here = sum(record.crack is crack for record in splits[name])
            total = sum(record.crack is crack for members in splits.values() for record in members)
            wanted = round(fraction * total)
            if 2 * here < wanted and (large := _describe_large_group(records, crack)):
                warnings.append(
                    f"data: the {name} split has {here:,} {_images(crack, here)} rather than {wanted:,} "
                    f"(data.{name}_fraction={fraction}): {large}"
                )
    return warnings


def is_given(name: str, records: Sequence[ImageRecord]) -> bool:
    """Return whether the source defines a split."""
    return any(record.split == name for record in records)


def _describe_large_group(records: Sequence[ImageRecord], crack: bool) -> str:
    """Return which group has at least half of the images of a class, and what joins it; nothing if there is none."""
    groups = _merge_groups([record for record in records if record.split in (None, "train")])
    counts = [sum(record.crack is crack for record in members) for members in groups]
    count, total = max(counts, default=0), sum(counts)
    if 2 * count < total or count < 2:
        return ""
    largest = groups[counts.index(count)]
    has = f"has {count:,} of the {total:,} {_images(crack, total)}, and stays in one split"
    names = {record.group for record in largest if record.group}
    if not names:
        return f"the same image {has}; remove its copies"
    if len(names) == 1:
        return f"group {names.pop()} (such as {largest[0].name}) {has}; give more groups, or set another data.groups"
    joined = _across_groups(_copies(largest))
    return (
        f"one group {has}: identical copies of {len(joined):,} images join {len(names):,} groups of data.groups, "
        f"such as {_joined(joined[0])}; remove the copies, or use the groups of `crackdet check-data --write-groups`"
    )


def _copies(records: Sequence[ImageRecord]) -> list[list[ImageRecord]]:
    """Return sets of two or more identical images."""
    by_digest: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        by_digest[record.digest].append(record)
    return [members for members in by_digest.values() if len(members) > 1]


def _across_groups(copies: Sequence[list[ImageRecord]]) -> list[list[ImageRecord]]:
    """Return the sets of identical images that belong to more than one group."""
    return [members for members in copies if len({record.group for record in members if record.group}) > 1]


def _joined(members: Sequence[ImageRecord]) -> str:
    """Return two of several identical images in different groups, with their groups."""
    named = {record.group: record for record in members if record.group}
    return " and ".join(f"{record.name} ({group})" for group, record in list(named.items())[:2])


def _images(crack: bool, number: int = 1) -> str:
    return f"image{'' if number == 1 else 's'} with{'' if crack else 'out'} a crack"


def missing_split_error(name: str) -> UserError:
    """Return the error to raise if the data lacks a split that a command needs."""
    return UserError(
        f"data: has no {name} split; train the run with data.test_fraction, which draws a test split if the data "
        "defines no splits"
    )


def check_classes(splits: Mapping[str, Sequence[ImageRecord]]) -> None:
    """Check that each split has both classes; the test split may be empty.

    Raises:
        UserError: If a split lacks one of the two classes.
    """
    if (missing := _missing_class(splits)) is not None:
        name, crack = missing
        raise UserError(f"data: the {name} split has no {_images(crack)}; {MORE_IMAGES}")


def _missing_class(splits: Mapping[str, Sequence[ImageRecord]]) -> tuple[str, bool] | None:
    """Return the first split that lacks a class, and this class."""
    for name, members in splits.items():
        for crack in (False, True) if members or name != "test" else ():
            if not any(record.crack is crack for record in members):
                return name, crack
    return None


def _random_split(records: Sequence[ImageRecord], fractions: dict[str, float], data: Data) -> Splits:
    """Assign groups in random order: to a split that still needs at least half of the group's images, else to train."""
    groups = _merge_groups(records)
    totals = Counter(record.crack for record in records)
    needed = {name: {crack: round(share * n) for crack, n in totals.items()} for name, share in fractions.items()}
    splits: Splits = {name: [] for name in SPLITS}
    for index in np.random.default_rng([data.split_seed, 0]).permutation(len(groups)):
        group = groups[index]
        counts = Counter(record.crack for record in group)
        for name, remaining in needed.items():
            if 2 * sum(min(n, max(remaining[crack], 0)) for crack, n in counts.items()) >= len(group):
                for crack, n in counts.items():
                    remaining[crack] -= n
                splits[name] += group
                break
        else:
            splits["train"] += group
    return splits


def _merge_groups(records: Sequence[ImageRecord]) -> list[list[ImageRecord]]:
    """Return sets of records that must stay together: copies, groups, and groups that share a copy."""
    representative = join((record.digest, f"group {record.group}") for record in records if record.group)
    merged: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        merged[representative(record.digest)].append(record)
    return list(merged.values())


def _subset(splits: Splits, max_images: int, data: Data) -> Splits:
    """Return `max_images` records with the proportions of splits and classes; larger subsets contain smaller ones."""
    # Adams' apportionment: each cell gets one image, then the least served cell gets the next
    cells = {
        (name, crack): [record for record in members if record.crack is crack]
        for name, members in splits.items()
        for crack in (False, True)
    }
    shares = [(number / len(members), cell) for cell, members in cells.items() for number in range(len(members))]
    quotas = Counter(cell for _, cell in sorted(shares, key=lambda share: share[0])[:max_images])
    result: Splits = {name: [] for name in SPLITS}
    for number, ((name, crack), members) in enumerate(cells.items()):
        order = np.random.default_rng([data.split_seed, 1, number]).permutation(len(members))
        result[name] += [members[i] for i in order[: quotas[name, crack]]]
    return result
