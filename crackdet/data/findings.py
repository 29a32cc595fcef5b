"""What may be wrong with images that can be read: constant, nearly black or white, copies, several frames."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from crackdet.core.text import list_first
from crackdet.data.bit_depth import DEEP_MARK
from crackdet.data.counts import few_observations_warning
from crackdet.data.dataset import ImageDataset
from crackdet.data.decode import num_frames
from crackdet.data.records import ImageRecord

MAX_NAMED = 10  # images per finding
DARK, BRIGHT = 15, 240  # values of 255 that count as nearly black and nearly white
OUTLIERS = 0.01  # share of the values that a nearly black or white image may have elsewhere


def find_all_problems(splits: Mapping[str, ImageDataset]) -> list[str]:
    """Return the problems of the images of each split, and of their number, in sentences."""
    few = few_observations_warning({name: dataset.records for name, dataset in splits.items()})
    return [*_one_class(splits), *([few] if few else []), *find_problems(splits)]


def find_problems(splits: Mapping[str, ImageDataset]) -> list[str]:
    """Return a line for each kind of problem, with the names of the images."""
    found: dict[str, list[str]] = {}
    for dataset in splits.values():
        for record in dataset.records:
            if (appearance := _appearance(dataset.pixels.read(record))) is not None:
                hint = " (check data.white_level)" if DEEP_MARK in record.digest else ""
                found.setdefault(f"{appearance}{hint}", []).append(record.name)
            file = dataset.pixels.source.file(record.name)
            if file is not None and num_frames(file) > 1:
                found.setdefault("several frames or pages; only the first is used", []).append(record.name)
        if copies := _copies(dataset.records):
            found.setdefault("copies of another image of the same split", []).extend(copies)
    return [f"{problem}: {_listed(names)}" for problem, names in sorted(found.items())]


def _one_class(splits: Mapping[str, ImageDataset]) -> list[str]:
    labels = {record.crack for dataset in splits.values() for record in dataset.records}
    if len(labels) != 1:
        return []
    which, rate = ("with", "recall") if labels == {True} else ("without", "share of false alarms")
    return [f"all images are {which} a crack: they can measure the {rate} of a run, but train no network"]


def _appearance(pixels: NDArray[np.uint8]) -> str | None:
    if (pixels == pixels[0, 0]).all():
        return "all pixels of one colour"
    if (pixels > DARK).mean() <= OUTLIERS:
        return "nearly black"
    if (pixels < BRIGHT).mean() <= OUTLIERS:
        return "nearly white"
    return None


def _copies(records: Sequence[ImageRecord]) -> list[str]:
    """Return the names of all but the first of the images with the same content."""
    ordered = sorted(records, key=lambda record: (record.digest, record.name))
    return [record.name for _, same in groupby(ordered, lambda record: record.digest) for record in list(same)[1:]]


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} image{'s' if len(names) > 1 else ''} ({list_first(sorted(names), MAX_NAMED)})"
