"""The cache of frozen features: a memory-mapped array for each view of a set of images, shared by runs and processes.

The first process that needs an array builds it under a lock and renames it into place. Its name is a hash of all that
determines it, so it is never out of date. The files in `<runtime.cache>/features`:

    <name>.npy        array (images, D) of float32, or of int16: the bits of bfloat16; rows are sorted by digest
    <name>.json       sidecar: cost of the feature extractor; its modification time is the time of last use
    <name>.lock       held while the array is built or deleted
    .<name>.npy.tmp   array that is being built; `.<name>.npy.json` has the number of rows that are done

If files of this name belong to another user and cannot be used, the name ends with `-<user id>`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crackdet.core.files import write_json
from crackdet.core.locks import lock_with_notice
from crackdet.core.machine import user_id
from crackdet.core.reading import read_json
from crackdet.data.mapped_files import allocate, open_mapped

COSTS = ("feature_latency_ms", "feature_latency_spread_ms", "feature_throughput")  # as in `result.json`
SAVE_SECONDS = 30.0  # between two notes of the rows that are done

Fill = Callable[[NDArray[Any], int], Iterator[int]]  # writes rows from a number on; yields the number of rows done


@dataclass(frozen=True)
class FeatureArray:
    """The features of a set of images in one view."""

    file: Path
    rows: Mapping[str, int]  # digest -> row of the array
    costs: Mapping[str, float]  # COSTS of the feature extractor
    array: NDArray[Any] = field(repr=False, compare=False)  # (images, D), memory-mapped: processes share its pages

    @property
    def unreadable(self) -> Mapping[str, str]:
        return {}

    @property
    def dimension(self) -> int:
        return int(self.array.shape[1])


def open_features(file: Path) -> NDArray[Any] | None:
    """Return the memory-mapped array (images, D); None if it is missing or damaged, or of other numbers."""
    array = open_mapped(file)
    return array if array is not None and array.ndim == 2 and array.dtype in (np.float32, np.int16) else None


class FeatureFile:
    """The files of one array of features.

    Args:
        cache: The folder `runtime.cache`.
        key: What determines the features, apart from the images.
        digests: Of the images.
    """

    def __init__(self, cache: Path, key: Mapping[str, Any], digests: Sequence[str]) -> None:
        unique = sorted(set(digests))
        self.rows = {digest: row for row, digest in enumerate(unique)}
        self._name = hashlib.sha256(json.dumps([key, unique], sort_keys=True).encode()).hexdigest()[:24]
        self._folder = cache / "features"

    def open(self) -> FeatureArray | None:
        """Return the array that this process or another one has built; None if it is missing or damaged."""
        return self._open(self._name) or self._open(f"{self._name}-{user_id()}")

    def build(
        self, dimension: int, dtype: DTypeLike, fill: Fill, costs: Callable[[], Mapping[str, float]]
    ) -> FeatureArray:
        """Build the array under the lock, unless another process has built it meanwhile; go on with an unfinished one.

        Args:
            dimension: Length of the features.
            dtype: float32, or int16 for bits of bfloat16.
            fill: Writes the rows in order.
            costs: Called at the end; returns COSTS of the feature extractor.

        Raises:
            OSError: If the array cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        shape = (len(self.rows), dimension)
        try:
            return self._build(self._name, shape, dtype, fill, costs)
        except PermissionError:  # the files are another user's
            return self._build(f"{self._name}-{user_id()}", shape, dtype, fill, costs)

    def _open(self, name: str) -> FeatureArray | None:
        file, sidecar = self._folder / f"{name}.npy", self._folder / f"{name}.json"
        costs = read_json(sidecar).get("costs")
        if not isinstance(costs, dict) or any(type(costs.get(name)) is not float for name in COSTS):
            return None
        array = open_features(file)
        if array is None or len(array) != len(self.rows):
            return None
        with suppress(OSError):  # a read-only cache
            sidecar.touch()
        return FeatureArray(file, self.rows, costs, array)

    def _build(
        self, name: str, shape: tuple[int, int], dtype: DTypeLike, fill: Fill, costs: Callable[[], Mapping[str, float]]
    ) -> FeatureArray:
        file = self._folder / f"{name}.npy"
        temporary, progress = file.with_name(f".{name}.npy.tmp"), file.with_name(f".{name}.npy.json")
        with lock_with_notice(file.with_suffix(".lock"), "another process computes these features"):
            if (built := self._open(name)) is not None:
                return built
            try:
                self._fill(temporary, progress, shape, dtype, fill)
                file.unlink(missing_ok=True)
                write_json(file.with_suffix(".json"), {"costs": dict(costs())})
                temporary.replace(file)
                progress.unlink(missing_ok=True)
            except OSError:  # usually a full disk: free the space
                temporary.unlink(missing_ok=True)
                progress.unlink(missing_ok=True)
                raise
            built = self._open(name)
            assert built is not None, "it has just been built"
            return built

    @staticmethod
    def _fill(temporary: Path, progress: Path, shape: tuple[int, int], dtype: DTypeLike, fill: Fill) -> None:
        """Write the rows that are missing, and note now and then how many are done."""
        done, unfinished = read_json(progress).get("done"), open_features(temporary)
        if (
            unfinished is None
            or (unfinished.shape, unfinished.dtype) != (shape, np.dtype(dtype))
            or type(done) is not int
            or done not in range(len(unfinished) + 1)
        ):
            progress.unlink(missing_ok=True)
            allocate(temporary, shape, dtype)
            done = 0
        assert isinstance(done, int)
        rows = done
        array = np.lib.format.open_memmap(temporary, mode="r+")
        saved = time.monotonic()
        filled = fill(array, rows)
        try:
            for rows in filled:
                if time.monotonic() - saved > SAVE_SECONDS:
                    array.flush()
                    write_json(progress, {"done": rows})
                    saved = time.monotonic()
        finally:  # also if the process was asked to stop
            array.flush()
            write_json(progress, {"done": rows})
