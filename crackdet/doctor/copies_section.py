"""The part of the page about copies, and the same in sentences."""

from collections import Counter
from collections.abc import Sequence

from crackdet.doctor.copies import SAME_OVERLAP, CopyPair
from crackdet.doctor.grouping import LARGE_SHARE, CopyReport, chain
from crackdet.doctor.photographs import Photograph
from crackdet.doctor.section import PageTable, Picture, Section, thumbnail
from crackdet.report.formatting import percent

MAX_PICTURES = 24
MAX_CONTRADICTORY = 10  # named in sentences


def copies_section(photographs: Sequence[Photograph], report: CopyReport, command: str | None) -> Section:
    """Return the section about copies; `command` writes their groups to a manifest."""
    if not report.pairs:
        return Section("copies", "Copies", ["No two photographs show the same place."])
    kinds = Counter(pair.kind.partition(" by ")[0] for pair in report.pairs)
    table = PageTable("Pairs by kind", ("kind", "pairs"), kinds.most_common())
    worst = sorted(report.across_splits, key=lambda pair: -pair.overlap) or sorted(
        report.pairs, key=lambda pair: -pair.overlap
    )
    pictures = [_picture(photographs, pair) for pair in worst[:MAX_PICTURES]]
    return Section(
        "copies", "Copies", copies_sentences(photographs, report),
        ["The list of all pairs is copies.csv, beside this page. With the groups of this command, photographs of one "
         "place stay in one split:"],
        [table], pictures, command,
    )  # fmt: skip


def copies_sentences(photographs: Sequence[Photograph], report: CopyReport) -> list[str]:
    """Return what the copies are and what they mean, in sentences."""
    if not report.pairs:
        return []
    same = sum(pair.overlap >= SAME_OVERLAP for pair in report.pairs)
    members = sum(map(len, report.groups))
    sentences = [
        f"{len(report.pairs):,} pairs of photographs show the same place: {same:,} show the same picture, and "
        f"{len(report.pairs) - same:,} overlap. They join {members:,} of {len(photographs):,} photographs in "
        f"{len(report.groups):,} groups."
    ]
    for split, number in report.leaked.items():
        total = sum(photograph.split == split for photograph in photographs)
        pairs = [(index, pair) for pair in report.across_splits for index in (pair.first, pair.second)]
        here = [(index, pair) for index, pair in pairs if photographs[index].split == split]
        cracks = {index for index, _ in here if photographs[index].crack}
        equal = {index for index, pair in here if pair.overlap >= SAME_OVERLAP}
        sentences.append(
            f"{number:,} of {total:,} {split} photographs show a place that a training photograph shows: "
            f"{len(cracks):,} with a crack, {number - len(cracks):,} without. Of these, {len(equal):,} show the "
            f"same picture, {len(equal & cracks):,} with a crack and {len(equal - cracks):,} without."
        )
    if report.joined_groups:
        sentences.append(f"Copies join {report.joined_groups:,} of the given groups with another group.")
    for pair in report.contradictory[:MAX_CONTRADICTORY]:
        first, second = photographs[pair.first], photographs[pair.second]
        sentences.append(f"{first.name} and {second.name} show the same picture, but have different labels.")
    if (more := len(report.contradictory) - MAX_CONTRADICTORY) > 0:
        sentences.append(f"{more:,} more pairs show the same picture with different labels.")
    if report.groups and len(report.groups[0]) > LARGE_SHARE * len(photographs):
        largest = report.groups[0]
        sentences.append(
            f"The largest group has {len(largest):,} photographs, joined by "
            f"{chain(photographs, largest, report.pairs)}."
        )
    return sentences


def _picture(photographs: Sequence[Photograph], pair: CopyPair) -> Picture:
    both = photographs[pair.first], photographs[pair.second]
    lines = [
        f"{pair.kind}, overlap {percent(pair.overlap, 0)}",
        *(f"{one.split}, {one.label or 'no label'}: {one.name}" for one in both),
    ]
    return Picture([thumbnail(one) for one in both], [one.name for one in both], lines)
