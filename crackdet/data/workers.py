"""Decoding of many images at once, in worker processes if there are enough images."""

import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.core.console import ON_BAR, bar
from crackdet.core.machine import num_cores
from crackdet.core.signals import interrupts_deferred
from crackdet.data import cache_index
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import Source
from crackdet.data.tiles import parse_digest

log = logging.getLogger(__name__)

CHUNK_SIZE = 64  # images per task of a worker
MAX_DECODERS = 8  # by default: more of them rarely help
MIN_IMAGES_FOR_WORKERS = 512  # with fewer, starting processes costs more than it saves


@dataclass(frozen=True)
class DecodeTask:
    """Images to decode, and the rows of a cached array that get their pixels."""

    source: Source
    records: Sequence[ImageRecord]
    rows: Sequence[int]  # of the images in the array
    image_size: int
    array_file: Path | None = None  # None: only check that the images can be read

    def run(self) -> dict[str, str]:
        """Decode the images in this process, and return the reason for each unreadable one, by digest."""
        unreadable: dict[str, str] = {}
        with _Rows(self.array_file) as rows:
            images = self.source.read_many(self.records, self.image_size)
            for row, record, pixels in zip(self.rows, self.records, images, strict=True):
                if isinstance(pixels, BadImage):
                    unreadable[record.digest] = str(pixels)
                else:
                    rows.write(row, pixels)
        return unreadable


class _Rows:
    """Writes rows of a cached array; writing to a mapped array would wait for a page fault at every 4 KiB."""

    def __init__(self, array_file: Path | None) -> None:
        self._file = None if array_file is None else array_file.open("r+b", buffering=0)
        self._start = 0 if array_file is None else np.load(array_file, mmap_mode="r").offset

    def __enter__(self) -> "_Rows":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, row: int, pixels: NDArray[np.uint8]) -> None:
        if self._file is not None:
            self._file.seek(self._start + row * pixels.nbytes)
            view = np.ascontiguousarray(pixels).data.cast("B")
            while view:  # a full disk writes a part, then raises
                view = view[self._file.write(view) :]


def run_in_chunks(task: DecodeTask, num_workers: int | None) -> dict[str, str]:
    """Run a task with a progress bar, and return the reason for each unreadable image, by digest.

    After each chunk, its images are appended to the index of the array.
    """
    total = len(task.records)
    workers = num_decoders(num_workers)
    if total >= MIN_IMAGES_FOR_WORKERS:
        gib = total * task.image_size**2 * 3 / 2**30
        into = f", {gib:.1f} GiB, into {task.array_file.parent}" if task.array_file is not None else ""
        log.info("decoding %d images of %d pixels a side%s", total, task.image_size, into, extra=ON_BAR)
    parts = _chunks(task.records)
    pending = deque(replace(task, records=task.records[part], rows=task.rows[part]) for part in parts)
    unreadable: dict[str, str] = {}
    with bar("decoding images", total, log_progress=True) as progress:

        def finish_chunk(failed: dict[str, str]) -> None:
            records = pending.popleft().records
            unreadable.update(failed)
            if task.array_file is not None:
                _synchronize(task.array_file)  # what is done must be on the disk, even if the machine stops
                done = [record.digest for record in records if record.digest not in failed]
                cache_index.append_done(task.array_file, done)
            progress.advance(len(records))

        if workers >= 2 and total >= MIN_IMAGES_FOR_WORKERS:
            # spawned, because a forked process would inherit locks and threads
            context = multiprocessing.get_context("spawn")
            other_children = set(multiprocessing.active_children())
            pool = ProcessPoolExecutor(workers, mp_context=context, initializer=exit_with_parent)
            try:
                with interrupts_deferred():  # this process receives Ctrl-C and ends its workers
                    futures = [pool.submit(chunk.run) for chunk in pending]
                for future in futures:
                    finish_chunk(future.result())
            except BrokenProcessPool:  # a worker was killed, or could not import the user's script
                log.warning("the worker processes that decode images died; this process continues alone")
            except BaseException:  # an interrupt does not wait for the workers
                for process in set(multiprocessing.active_children()) - other_children:
                    process.kill()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
        while pending:
            finish_chunk(pending[0].run())
    return unreadable


def _synchronize(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _chunks(records: Sequence[ImageRecord]) -> Iterator[slice]:
    """Yield parts of the records that have at least `CHUNK_SIZE` images and do not divide a photograph."""
    start = 0
    for end in range(CHUNK_SIZE, len(records)):
        is_new = parse_digest(records[end - 1].digest)[0] != parse_digest(records[end].digest)[0]
        if end - start >= CHUNK_SIZE and is_new:
            yield slice(start, end)
            start = end
    if start < len(records):
        yield slice(start, len(records))


def num_decoders(num_workers: int | None) -> int:
    """Return the number of processes or threads that decode: `num_workers`, or one per core up to a limit."""
    return min(num_cores(), MAX_DECODERS) if num_workers is None else max(num_workers, 1)


def exit_with_parent() -> None:
    """End this worker process as soon as its parent ends, even if the parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
