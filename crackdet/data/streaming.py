"""Batches decoded from image files ahead of training, for a dataset that is too large for the cache."""

import logging
import os
import signal
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from crackdet.core.errors import RunFailed
from crackdet.data.dataset import ImageDataset
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import Source
from crackdet.data.workers import exit_with_parent, num_decoders

log = logging.getLogger(__name__)

MAX_THREADS = 4  # more decoding threads would wait for the GIL
MIN_PREFETCH = 3  # batches decoded in advance
CHUNK_SIZE = 8  # images per task of a process: with whole batches, most processes idle at the end of an epoch

Pixels = NDArray[np.uint8]  # (N, S, S, 3)


class _DecoderProcess(SpawnProcess):
    """A worker process that ignores the signals that stop its parent."""

    def terminate(self) -> None:
        self.kill()  # SIGTERM would be ignored


class _DecoderContext(SpawnContext):
    Process = _DecoderProcess


class DecoderPools:
    """The pools of worker processes, kept for the next epochs; a size whose pool has failed is not tried again."""

    def __init__(self) -> None:
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self.failed: set[int] = set()

    def get(self, num_processes: int) -> ProcessPoolExecutor:
        """Return the pool of this size; its processes are spawned, so they inherit nothing, such as open pipes."""
        if num_processes not in self._pools:
            pool = ProcessPoolExecutor(num_processes, mp_context=_DecoderContext(), initializer=_init_process)
            self._pools[num_processes] = pool
        return self._pools[num_processes]

    def discard(self, num_processes: int) -> None:
        """Forget all pools after the one of this size has failed."""
        self.failed.add(num_processes)
        self._pools.clear()


_pools = DecoderPools()


def stream(dataset: ImageDataset, batches: Sequence[NDArray[np.int64]], num_workers: int | None) -> Iterator[Pixels]:
    """Yield the pixels of each batch in order, decoded by threads, or by processes if there are many workers.

    Raises:
        RunFailed: If an image can no longer be read.
    """
    workers = num_decoders(num_workers)
    if workers <= MAX_THREADS or len(batches) < workers or workers in _pools.failed:
        yield from _stream_by_threads(dataset, batches, workers)
        return
    done = 0
    try:
        for pixels in _stream_by_processes(dataset, batches, workers):
            yield pixels
            done += 1
    except (BrokenProcessPool, OSError, NotImplementedError):  # killed, out of memory, or a script without a guard
        _pools.discard(workers)
        log.warning("the worker processes that decode images died; this process continues alone")
        yield from _stream_by_threads(dataset, batches[done:], workers)


def _stream_by_threads(
    dataset: ImageDataset, batches: Sequence[NDArray[np.int64]], num_threads: int
) -> Iterator[Pixels]:
    """Decode in threads: Pillow releases the GIL, so a few processes would only add start-up time and copies."""
    source, size = dataset.pixels.source, dataset.pixels.image_size
    pending: deque[list[Future[Pixels]]] = deque()
    with ThreadPoolExecutor(min(num_threads, MAX_THREADS)) as pool:
        for indices in batches:
            pending.append([pool.submit(_read, source, size, [dataset.records[index]]) for index in indices])
            if len(pending) > MIN_PREFETCH:
                yield np.concatenate([future.result() for future in pending.popleft()])
        while pending:
            yield np.concatenate([future.result() for future in pending.popleft()])


def _stream_by_processes(
    dataset: ImageDataset, batches: Sequence[NDArray[np.int64]], num_processes: int
) -> Iterator[Pixels]:
    """Decode in processes that write into a shared file in memory: the pool's own pipe has half its throughput."""
    source, size = dataset.pixels.source, dataset.pixels.image_size
    image_bytes, batch_size = size * size * 3, max(map(len, batches))
    prefetch = MIN_PREFETCH + 2 * num_processes * CHUNK_SIZE // batch_size  # two chunks per process
    pool, (file, path) = _pools.get(num_processes), _memory_file()
    write = partial(_write, path, os.fstat(file.fileno()), source, size)
    pending: deque[tuple[int, int, list[Future[None]]]] = deque()  # offset in the file, number of images, tasks

    def pop_oldest() -> Pixels:
        offset, count, futures = pending[0]
        for future in futures:
            future.result()
        pending.popleft()
        file.seek(offset)
        return np.fromfile(file, np.uint8, count * image_bytes).reshape(count, size, size, 3)

    try:
        for number, indices in enumerate(batches):
            offset = number % (prefetch + 1) * batch_size * image_bytes
            records = [dataset.records[index] for index in indices]
            starts = range(0, len(records), CHUNK_SIZE)
            futures = [pool.submit(write, offset + i * image_bytes, records[i : i + CHUNK_SIZE]) for i in starts]
            pending.append((offset, len(records), futures))
            if len(pending) > prefetch:
                yield pop_oldest()
        while pending:
            yield pop_oldest()
    finally:
        for _, _, futures in pending:
            for future in futures:
                future.cancel()
        file.close()


def _memory_file() -> tuple[IO[bytes], str]:
    """Return an anonymous file in memory and the path to open it in other processes; if unsupported, a disk file."""
    try:
        file = os.fdopen(os.memfd_create("pixels"), "r+b", buffering=0)
    except (AttributeError, OSError):
        on_disk = tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115  # the caller closes it
        return on_disk, on_disk.name
    return file, f"/proc/{os.getpid()}/fd/{file.fileno()}"


def _init_process() -> None:
    """Ignore signals, which are for the parent, and end with the parent."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    exit_with_parent()


def _write(
    path: str, status: os.stat_result, source: Source, image_size: int, offset: int, records: Sequence[ImageRecord]
) -> None:
    """Decode images into the shared file."""
    pixels = _read(source, image_size, records)
    with Path(path).open("r+b") as file:
        # the stream may have been closed, and another file have its descriptor
        if os.path.samestat(os.fstat(file.fileno()), status):
            file.seek(offset)
            file.write(pixels.data)


def _read(source: Source, image_size: int, records: Sequence[ImageRecord]) -> Pixels:
    pixels = []
    for record, image in zip(records, source.read_many(records, image_size), strict=True):
        if isinstance(image, BadImage):  # it was readable when the run began
            source.reread([record])
            raise RunFailed(f"data: {record.name}: {image}")
        pixels.append(image)
    return np.stack(pixels)
