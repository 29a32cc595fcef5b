"""Photographs decoded once: one memory-mapped array of pixels, shared by all runs and processes.

The file is named by what it holds (digests, image size, version of the decoder), so it is current by
construction. It is built under a lock by the first process that needs it, and appears whole.
"""

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from crackdet.config import Runtime
from crackdet.console import bar
from crackdet.data import decode
from crackdet.data.sources import Photograph, Source
from crackdet.errors import UserError
from crackdet.store import write_json

log = logging.getLogger(__name__)

CHUNK = 64  # images to one task of a worker
WORTH_WORKERS = 512  # images: below, starting processes costs more than it saves


@dataclass(frozen=True)
class DecodedPhotographs:
    """Pixels of a set of photographs, from the cache or, where the set is too large for it, from their files."""

    source: Source
    image_size: int
    file: Path | None  # None: streamed
    rows: dict[str, int]  # digest -> row of the array
    bad: dict[str, str]  # digest -> why it cannot be read

    @cached_property
    def array(self) -> NDArray[np.uint8]:
        """(images, size, size, 3), mapped: its pages are shared between processes."""
        assert self.file is not None, "streamed photographs have no array"
        array: NDArray[np.uint8] = np.load(self.file, mmap_mode="r")
        return array

    def read(self, photograph: Photograph) -> NDArray[np.uint8]:
        """One photograph, (size, size, 3): the same pixels from the cache as from its file."""
        if self.file is not None:
            pixels: NDArray[np.uint8] = self.array[self.rows[photograph.digest]]
            return pixels
        return self.source.read(photograph, self.image_size)


def decode_all(
    source: Source, photographs: Sequence[Photograph], image_size: int, runtime: Runtime
) -> DecodedPhotographs:
    """Every photograph decoded, now or at an earlier call; what cannot be read is listed in `bad`.

    Raises:
        UserError: where the cache folder cannot be written.
    """
    unique = {photograph.digest: photograph for photograph in photographs}
    digests = sorted(unique)
    size = len(digests) * image_size * image_size * 3
    streamed = size > runtime.cache_gib * 2**30
    name = hashlib.sha256(json.dumps([decode.VERSION, image_size, digests]).encode()).hexdigest()[:24]
    folder = Path(runtime.cache).expanduser() / "pixels"
    target, notes = folder / f"{name}.npy", folder / f"{name}.json"
    if streamed:
        log.info(
            "%d images of %d pixels a side are %.1f GiB decoded, over runtime.cache_gib=%g: streaming them from "
            "their files", len(digests), image_size, size / 2**30, runtime.cache_gib
        )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bad = _current(target, notes, size, streamed)
        if bad is None:
            with FileLock(folder / f"{name}.lock"):
                bad = _current(target, notes, size, streamed)  # another process may have built it meanwhile
                if bad is None:
                    items = [unique[digest] for digest in digests]
                    bad = _build(source, items, image_size, None if streamed else target, _workers(runtime))
                    write_json(notes, {"bad": bad})
    except OSError as error:
        raise UserError(
            f"runtime.cache={runtime.cache}: decoded images cannot be written there ({error}); "
            f"{size / 2**20:.0f} MiB are needed; give another folder, or runtime.cache_gib=0 to do without"
        ) from None
    rows = {digest: row for row, digest in enumerate(digests)}
    return DecodedPhotographs(source, image_size, None if streamed else target, rows, bad)


def _current(target: Path, notes: Path, size: int, streamed: bool) -> dict[str, str] | None:
    try:
        if not streamed and target.stat().st_size < size:
            return None
        content = json.loads(notes.read_bytes())["bad"]
    except (OSError, ValueError, KeyError):
        return None
    return content if isinstance(content, dict) else None


def _workers(runtime: Runtime) -> int:
    return min(os.cpu_count() or 1, 8) if runtime.num_workers is None else runtime.num_workers


def _build(
    source: Source, photographs: Sequence[Photograph], image_size: int, target: Path | None, workers: int
) -> dict[str, str]:
    """Decodes into a file beside `target`, then renames it; returns what could not be read."""
    temporary = target and target.with_name(f".{target.name}.{os.getpid()}.tmp")
    if temporary is not None:
        np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(len(photographs), image_size, image_size, 3)
        )
    bad: dict[str, str] = {}
    tasks = [
        (source, photographs[start : start + CHUNK], image_size, temporary, start)
        for start in range(0, len(photographs), CHUNK)
    ]
    try:
        with bar("decoding images", len(photographs)) as progress:
            if workers < 2 or len(photographs) < WORTH_WORKERS:
                for task in tasks:
                    bad.update(_decode_chunk(*task))
                    progress.advance(len(task[1]))
            else:
                # spawned, not forked: a forked child would inherit locks and threads
                with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
                    futures = [pool.submit(_decode_chunk, *task) for task in tasks]
                    for task, future in zip(tasks, futures, strict=True):
                        bad.update(future.result())
                        progress.advance(len(task[1]))
        if temporary is not None and target is not None:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return bad


def _decode_chunk(
    source: Source, photographs: Sequence[Photograph], image_size: int, file: Path | None, start: int
) -> dict[str, str]:
    array = None if file is None else np.load(file, mmap_mode="r+")
    bad: dict[str, str] = {}
    for row, photograph in enumerate(photographs, start):
        try:
            pixels = source.read(photograph, image_size)
        except decode.BadImage as error:
            bad[photograph.digest] = f"{photograph.name}: {error}"
        else:
            if array is not None:
                array[row] = pixels
    if array is not None:
        array.flush()
    return bad
