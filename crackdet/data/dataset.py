"""The images of each split, decoded or as features, without torch."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import Data, Runtime
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.machine import gc_disabled
from crackdet.data.cache import DecodedImages, decode_all
from crackdet.data.negatives import read_scores, scores_file
from crackdet.data.records import IMAGES_CHANGED, ImageRecord, fingerprint
from crackdet.data.sources.base import CHANGED
from crackdet.data.sources.factory import open_source
from crackdet.data.splits import SplitCache, Splits, check_classes

log = logging.getLogger(__name__)


_split_cache = SplitCache()


@cache  # every run of a sweep loads the same data
def warn_once(message: str) -> None:
    """Log a warning, unless this process has logged it before."""
    log.warning("%s", message)


class CachedArray(Protocol):
    """A memory-mapped array in the cache, with a row for each image."""

    @property
    def file(self) -> Path | None: ...  # None: the set of images is too large for the cache

    @property
    def rows(self) -> Mapping[str, int]: ...  # digest -> row of the array

    @property
    def unreadable(self) -> Mapping[str, str]: ...  # digest -> reason

    @property
    def array(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Dataset(ABC):
    """The images of one split, with their rows in a cached array."""

    records: Sequence[ImageRecord]

    def __len__(self) -> int:
        return len(self.records)

    @property
    @abstractmethod
    def cached(self) -> CachedArray:
        """What the network gets."""

    def in_epoch(self, epoch: int) -> "Dataset":
        """Return the dataset of an epoch, counted from 1, in the same order of images."""
        return self

    @cached_property
    def labels(self) -> NDArray[np.bool_]:
        """(N,): True is a crack."""
        return np.array([record.crack for record in self.records], dtype=np.bool_)

    @cached_property
    def weights(self) -> NDArray[np.float32] | None:
        """(N,): weights in the loss, of mean 1 so that the learning rate keeps its meaning; None if all are equal."""
        weights = np.array([record.weight for record in self.records], dtype=np.float64)
        return None if len(set(weights)) <= 1 else (weights / weights.mean()).astype(np.float32)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(N,): the row of each image in the cached array."""
        return np.array([self.cached.rows[record.digest] for record in self.records], dtype=np.int64)


@dataclass(frozen=True)
class ImageDataset(Dataset):
    """The images of one split, with their pixels."""

    pixels: DecodedImages

    @property
    def cached(self) -> DecodedImages:
        return self.pixels


@dataclass(frozen=True)
class FeatureDataset(Dataset):
    """The images of one split, with their features in each view."""

    views: Sequence[CachedArray]

    @property
    def cached(self) -> CachedArray:
        return self.views[0]

    def in_epoch(self, epoch: int) -> "FeatureDataset":
        return FeatureDataset(self.records, [self.views[(epoch - 1) % len(self.views)]])


def data_fingerprint(data: Data, runtime: Runtime, both_classes: bool = True) -> str:
    """Return one hash of all images and labels: the part of a run's identity that is not configuration.

    Args:
        both_classes: Whether images of both classes are needed.

    Raises:
        UserError: If the data cannot be listed.
    """
    with gc_disabled():
        records = open_source(data, expand_home(runtime.cache)).list_records(both_classes)
        return fingerprint(records, read_scores(data, runtime)[1])


def data_dependencies(data: Data, runtime: Runtime) -> list[Path]:
    """Return the files and folders that the fingerprint depends on; if none has changed, it is the same.

    Raises:
        UserError: If the data cannot be listed.
    """
    scores = scores_file(data, runtime)
    return [*open_source(data, expand_home(runtime.cache)).dependencies, *([] if scores is None else [scores])]


def list_splits(data: Data, runtime: Runtime) -> tuple[Splits, list[str]]:
    """Return the records of each split, and warnings about them; reads no pixels.

    Raises:
        UserError: If the data cannot be listed or split.
    """
    with gc_disabled():
        records = open_source(data, expand_home(runtime.cache)).list_records()
        return _split_cache.get(records, data, read_scores(data, runtime)[0])


def load_splits(
    data: Data,
    runtime: Runtime,
    expected: str | None = None,
    max_named: int | None = 20,
    both_classes: bool = True,
) -> dict[str, ImageDataset]:
    """Return the decoded train, valid and test images.

    Args:
        expected: The fingerprint of the data when the command began.
        max_named: At most this many unreadable images are named; None names all.
        both_classes: Whether each split needs images of both classes, as for training.

    Raises:
        UserError: If the data cannot be listed, split or read, or its fingerprint is not the expected one.
    """
    source = open_source(data, expand_home(runtime.cache))
    with gc_disabled():
        records = source.list_records(both_classes)
        scores, scores_digest = read_scores(data, runtime)
        if expected not in (None, fingerprint(records, scores_digest)):
            raise UserError(IMAGES_CHANGED)
        splits, warnings = _split_cache.get(records, data, scores, both_classes)
    for warning in (*(f"data: {text}" for text in source.warnings), *warnings):
        warn_once(warning)
    used = [record for members in splits.values() for record in members]
    pixels = decode_all(source, used, data.image_size, runtime)
    if changed := [record for record in used if pixels.unreadable.get(record.digest) == CHANGED]:
        source.reread(changed)  # else a wrong digest in the cache would end every command like this
        raise UserError(
            f"data: {len(changed)} images have changed since they were listed, such as {changed[0].name}; run the "
            "command again"
        )
    if pixels.unreadable:
        reasons = {r.name: pixels.unreadable[r.digest] for r in used if r.digest in pixels.unreadable}
        names = _by_reason({name: reasons[name] for name in sorted(reasons)[:max_named]})
        if max_named is not None and len(reasons) > max_named:
            names += f"\n  and {len(reasons) - max_named} more: crackdet check-data with the same settings names all"
        problem = f"{len(reasons)} of {len(used)} images of {source.name} cannot be read"
        if data.on_bad_image == "error":
            raise UserError(f"data: {problem}; repair or remove them, or set data.on_bad_image=skip\n{names}")
        warn_once(f"data: {problem} and are skipped:\n{names}")
        splits = {name: [r for r in members if r.digest not in pixels.unreadable] for name, members in splits.items()}
        if both_classes:
            check_classes(splits)
    return {name: ImageDataset(members, pixels) for name, members in splits.items()}


def _by_reason(reasons: Mapping[str, str]) -> str:
    """Return a line for each image; images that cannot be read for the same reason share a line."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return "\n".join(
        f"  {members[0]}: {reason}" if len(members) == 1 else f"  {reason}: {', '.join(members)}"
        for reason, members in names.items()
    )
