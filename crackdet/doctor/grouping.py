"""Groups of photographs that show the same place, proposed from pairs of copies."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crackdet.core import disjoint_sets
from crackdet.core.files import write_csv
from crackdet.doctor.copies import SAME_OVERLAP, CopyPair
from crackdet.doctor.photographs import Photograph

LARGE_SHARE = 0.2  # of all photographs: such a group cannot be split well


@dataclass(frozen=True)
class CopyReport:
    """What copies mean for a data set."""

    pairs: Sequence[CopyPair]
    groups: Sequence[Sequence[int]]  # positions of the photographs of each group of two or more, largest first
    across_splits: Sequence[CopyPair]  # pairs of which one photograph is in training, and the other is not
    leaked: dict[str, int]  # split -> photographs that show a place of the training split
    contradictory: Sequence[CopyPair]  # pairs of the same picture with different labels
    joined_groups: int  # given groups that copies join with another one


def report_copies(photographs: Sequence[Photograph], pairs: Sequence[CopyPair]) -> CopyReport:
    """Return the groups that pairs of copies form, and what is wrong with splits and labels."""
    across = [pair for pair in pairs if "train" in (splits := _splits(photographs, pair)) and len(splits) == 2]
    leaked = {index for pair in across for index in (pair.first, pair.second) if photographs[index].split != "train"}
    contradictory = [
        pair
        for pair in pairs
        if pair.overlap >= SAME_OVERLAP and photographs[pair.first].crack is not photographs[pair.second].crack
    ]
    joined = {
        group
        for pair in pairs
        if None not in (both := {photographs[pair.first].group, photographs[pair.second].group}) and len(both) == 2
        for group in both
    }
    groups = [group for group in join(len(photographs), pairs) if len(group) > 1]
    return CopyReport(
        pairs,
        sorted(groups, key=len, reverse=True),
        across,
        dict(Counter(photographs[index].split for index in sorted(leaked))),
        contradictory,
        len(joined),
    )


def join(number: int, pairs: Iterable[CopyPair]) -> list[list[int]]:
    """Return the positions 0 to `number` in sets that pairs connect."""
    representative = disjoint_sets.join((pair.first, pair.second) for pair in pairs)
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(number):
        members[representative(index)].append(index)
    return list(members.values())


def write_groups(file: Path, photographs: Sequence[Photograph], pairs: Sequence[CopyPair]) -> str:
    """Write a manifest with the proposed group of each photograph, and return what was written in words.

    `data.groups=group data.manifest=FILE` reads it.

    Raises:
        WriteFailed: If the file cannot be written.
    """
    groups, note = _propose_groups(photographs, pairs)
    names = _names(photographs, groups)
    write_csv(file, [{"path": one.name, "group": names[one.name]} for one in photographs])
    return f"{len(groups):,} groups of {len(photographs):,} photographs{note}"


def group_names(photographs: Sequence[Photograph], pairs: Sequence[CopyPair]) -> dict[str, str]:
    """Return the proposed group of each photograph, by name."""
    return _names(photographs, _propose_groups(photographs, pairs)[0])


def _propose_groups(photographs: Sequence[Photograph], pairs: Sequence[CopyPair]) -> tuple[list[list[int]], str]:
    """Return groups that keep copies together, and a note about given groups that are not kept.

    A given group stays together with the copies of its photographs, unless copies chain the given groups to one that
    cannot be split; then the groups are those of the copies alone.
    """
    groups = _join_with_given(photographs, pairs)
    largest = max(groups, key=len, default=[])
    if len(largest) <= LARGE_SHARE * len(photographs) or len({photographs[index].group for index in largest}) < 2:
        return groups, ""
    note = f"; the given groups are not kept, because copies join {len(largest):,} photographs of them to one group"
    return join(len(photographs), pairs), note


def _names(photographs: Sequence[Photograph], groups: Sequence[Sequence[int]]) -> dict[str, str]:
    return {photographs[index].name: photographs[group[0]].name for group in groups for index in group}


def _join_with_given(photographs: Sequence[Photograph], pairs: Sequence[CopyPair]) -> list[list[int]]:
    first: dict[str, int] = {}
    given = [
        CopyPair(first.setdefault(one.group, index), index, "", 1.0, 1.0)
        for index, one in enumerate(photographs)
        if one.group
    ]
    return join(len(photographs), [*given, *pairs])


def pair_rows(photographs: Sequence[Photograph], pairs: Sequence[CopyPair]) -> list[dict[str, object]]:
    """Return a row for each pair, for a CSV file or a table."""
    return [
        {
            "first": photographs[pair.first].name, "second": photographs[pair.second].name, "kind": pair.kind,
            "overlap": round(pair.overlap, 3), "correlation": round(pair.correlation, 3),
            "first_split": photographs[pair.first].split, "second_split": photographs[pair.second].split,
            "first_label": photographs[pair.first].label, "second_label": photographs[pair.second].label,
        }
        for pair in pairs
    ]  # fmt: skip


def chain(photographs: Sequence[Photograph], group: Sequence[int], pairs: Sequence[CopyPair]) -> str:
    """Return what joins a large group, in words: its pairs by kind, the given groups, and the least certain pair."""
    members = set(group)
    inside = [pair for pair in pairs if pair.first in members]
    kinds = Counter(pair.kind.partition(" by ")[0] for pair in inside).most_common(3)
    words = ", ".join(f"{number} {kind}" for kind, number in kinds)
    given = {photographs[index].group for index in group} - {None}
    weakest = min(inside, key=lambda pair: pair.correlation)
    return (
        f"{len(inside):,} pairs ({words})"
        + (f" between {len(given):,} given groups" if len(given) > 1 else "")
        + f"; the least certain one is {photographs[weakest.first].name} and {photographs[weakest.second].name} "
        f"({weakest.kind}, correlation {weakest.correlation:.2f})"
    )


def _splits(photographs: Sequence[Photograph], pair: CopyPair) -> set[str]:
    return {photographs[pair.first].split, photographs[pair.second].split}
