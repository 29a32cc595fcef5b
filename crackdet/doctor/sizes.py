"""Classes, groups and image sizes of each split, and what they are too few or too small for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crackdet.data.counts import count_splits, few_observations_warning, is_grouped, num_groups
from crackdet.data.records import ImageRecord
from crackdet.data.tiles import parse_name
from crackdet.doctor.headers import Header
from crackdet.metrics.statistics import proportion_interval

Splits = Mapping[str, Sequence[ImageRecord]]

MAX_COMMON = 3  # sizes named
MAX_ASPECT = 1.5  # longer to shorter side: beyond, the resize to a square distorts cracks
LARGE_SHARE = 0.1  # of the images of a split: worth a remark
TYPICAL_ACCURACY = 0.95  # for the question how exactly a split can measure


@dataclass(frozen=True)
class SplitSizes:
    """The images of one split."""

    split: str
    counts: Mapping[str, int]  # images, and groups if there are any, by class; see `crackdet.data.counts`
    common: tuple[tuple[int, int, int], ...]  # width, height and number of images of the most frequent sizes
    shorter_side: tuple[float, float, float] | None  # smallest, median and largest; None: no image has a file
    enlarged: int  # images with a side below data.image_size
    elongated: int  # images whose sides have a ratio above MAX_ASPECT
    margin: float  # half of the 95 % interval of an accuracy of 0.95 on this split, groups counted as images
    pure_groups: int  # groups of several images that are all of one class
    mixed_groups: int  # groups that have both classes


@dataclass(frozen=True)
class Sizes:
    """The images of all splits."""

    splits: tuple[SplitSizes, ...]
    warnings: tuple[str, ...]


def measure_sizes(splits: Splits, headers: Mapping[str, Header], image_size: int) -> Sizes:
    """Return counts and sizes of each split that has images, and warnings about them.

    Args:
        headers: By name of the photograph, see `headers.read_headers`.
        image_size: `data.image_size`.
    """
    counts = count_splits(splits)
    found = tuple(
        _split_sizes(split, records, counts[split], headers, image_size) for split, records in splits.items() if records
    )
    warnings = [w for of_split in found for w in _warnings(of_split, len(splits[of_split.split]), image_size)]
    if (few := few_observations_warning(splits)) is not None:
        warnings.insert(0, few)
    groups = sum(of_split.mixed_groups for of_split in found)
    if is_grouped(splits) and groups == 0:
        warnings.append(
            "data: no group has images of both classes, so a network may tell the places apart instead of the cracks"
        )
    return Sizes(found, tuple(warnings))


def image_sizes(records: Sequence[ImageRecord], headers: Mapping[str, Header]) -> list[tuple[int, int]]:
    """Return width and height of each image before it is resized; those of a tile are the tile's. Unknown: left out."""
    sizes = []
    for record in records:
        photograph, box = parse_name(record.name)
        header = headers.get(photograph, Header())
        if box is not None:
            sizes.append((box.width, box.height))
        elif header.width is not None and header.height is not None:
            sizes.append((header.width, header.height))
    return sizes


def _split_sizes(
    split: str, records: Sequence[ImageRecord], counts: Mapping[str, int], headers: Mapping[str, Header], size: int
) -> SplitSizes:
    sizes = image_sizes(records, headers)
    shorter = [min(sides) for sides in sizes]
    classes: dict[str, set[bool]] = {}
    members = Counter(record.group for record in records if record.group)
    for record in records:
        if record.group:
            classes.setdefault(record.group, set()).add(record.crack)
    low, high = proportion_interval(TYPICAL_ACCURACY, num_groups(records))
    return SplitSizes(
        split,
        counts,
        tuple((width, height, number) for (width, height), number in Counter(sizes).most_common(MAX_COMMON)),
        (float(min(shorter)), float(np.median(shorter)), float(max(shorter))) if shorter else None,
        sum(side < size for side in shorter),
        sum(max(sides) > MAX_ASPECT * min(sides) for sides in sizes),
        float(high - low) / 2,
        sum(len(classes[group]) == 1 and number > 1 for group, number in members.items()),
        sum(len(both) == 2 for both in classes.values()),
    )


def _warnings(sizes: SplitSizes, number: int, image_size: int) -> list[str]:
    warnings = []
    if sizes.enlarged > LARGE_SHARE * number and sizes.shorter_side is not None:
        warnings.append(
            f"data: {sizes.enlarged:,} of {number:,} {sizes.split} images are smaller than data.image_size="
            f"{image_size} (median of the shorter side: {sizes.shorter_side[1]:.0f} pixels) and are enlarged, which "
            "costs time and adds no detail; give a smaller data.image_size"
        )
    if sizes.elongated > LARGE_SHARE * number:
        warnings.append(
            f"data: {sizes.elongated:,} of {number:,} {sizes.split} images are more than {MAX_ASPECT:g} times as long "
            "as wide, and are squeezed to a square; cut them into squares"
        )
    return warnings
