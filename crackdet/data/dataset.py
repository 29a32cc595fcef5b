"""Photographs -> splits -> decoded pixels -> batches. Everything up to `batches` works without torch."""

import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import Data, Runtime
from crackdet.core.errors import UserError
from crackdet.core.garbage_collector import gc_disabled
from crackdet.data.cache import DecodedImages, decode_all
from crackdet.data.sources import ImageRecord, fingerprint, open_source
from crackdet.data.splits import check_classes, leakage_warnings, split

__all__ = ["ImageDataset", "data_fingerprint", "image_digest", "load_splits"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageDataset:
    """The photographs of one split, with their pixels."""

    photographs: Sequence[ImageRecord]
    pixels: DecodedImages

    def __len__(self) -> int:
        return len(self.photographs)

    @cached_property
    def labels(self) -> NDArray[np.bool_]:
        """(N,): True is a crack."""
        return np.array([photograph.crack for photograph in self.photographs], dtype=np.bool_)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(N,): where the pixels of each are in the array."""
        return np.array([self.pixels.rows[photograph.digest] for photograph in self.photographs], dtype=np.int64)


@functools.cache
def _warn_once(text: str) -> None:
    log.warning("%s", text)


def data_fingerprint(data: Data, runtime: Runtime) -> str:
    """What the images and labels are, in one hash; the part of a run's identity that is not configuration.

    Raises:
        UserError: where the data cannot be listed.
    """
    with gc_disabled():
        return fingerprint(open_source(data, Path(runtime.cache).expanduser()).photographs())


def image_digest(photographs: Sequence[ImageRecord]) -> str:
    """Which photographs these are, with their labels: runs are compared only on the same ones."""
    return hashlib.sha256(json.dumps([(one.digest, one.crack) for one in photographs]).encode()).hexdigest()


def load_splits(
    data: Data, runtime: Runtime, expected: str | None = None, most_named: int | None = 20
) -> dict[str, ImageDataset]:
    """The train, valid and test images, decoded; `expected` is the fingerprint that the data had before.

    Of images that cannot be read the first `most_named` are, or all of them.

    Raises:
        UserError: where the data cannot be listed, split or read, or is not what was expected.
    """
    source = open_source(data, Path(runtime.cache).expanduser())
    with gc_disabled():
        photographs = source.photographs()
        if expected not in (None, fingerprint(photographs)):
            raise UserError("data: the photographs have changed since the command began; give it again")
        splits, said = _split(photographs, data)
    if places := ", ".join(source.left_out):
        _warn_once(f"data: the images in {places} are left out: they lie in no folder of a class, or beside the splits")
    for remark in said:
        _warn_once(remark)
    everything = [photograph for members in splits.values() for photograph in members]
    pixels = decode_all(source, everything, data.image_size, runtime)
    if pixels.bad:
        bad = sorted(f"  {p.name}: {pixels.bad[p.digest]}" for p in everything if p.digest in pixels.bad)
        names = "\n".join(bad[:most_named])
        if most_named is not None and len(bad) > most_named:
            names += f"\n  and {len(bad) - most_named} more: crackdet data with the same settings names all"
        what = f"{len(bad)} of {len(everything)} images of {source.name} cannot be read"
        if data.on_bad_image == "error":
            raise UserError(f"data: {what}; mend or remove them, or leave them out: data.on_bad_image=skip\n{names}")
        _warn_once(f"data: {what} and are left out:\n{names}")
        splits = {name: [p for p in members if p.digest not in pixels.bad] for name, members in splits.items()}
        check_classes(splits)
    return {name: ImageDataset(members, pixels) for name, members in splits.items()}


@dataclass(frozen=True)
class _Drawn:
    """Splits of photographs, and what is doubtful of them."""

    photographs: list[ImageRecord]
    settings: str
    splits: dict[str, list[ImageRecord]]
    said: list[str]


_last: _Drawn | None = None


def _split(photographs: list[ImageRecord], data: Data) -> tuple[dict[str, list[ImageRecord]], list[str]]:
    """Splits and remarks; those of the last call are remembered, since each run of a sweep asks for them."""
    global _last
    if _last is None or _last.settings != repr(data) or _last.photographs != photographs:
        splits = split(photographs, data)
        _last = _Drawn(photographs, repr(data), splits, leakage_warnings(splits))
    return _last.splits, _last.said
