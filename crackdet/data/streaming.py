"""Batches decoded from their files, ahead of the training: for a set that is too large for the cache."""

import logging
import os
import signal
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from crackdet.core.errors import RunFailed
from crackdet.data.dataset import ImageDataset
from crackdet.data.decode import BadImage, exit_with_parent, num_decoders
from crackdet.data.sources import ImageRecord, Source

log = logging.getLogger(__name__)

MOST_THREADS = 4  # that decode side by side: more of them wait for Python's lock
AHEAD = 3  # batches that are decoded in advance, at least
PIECE = 8  # images of a batch to one task of a process: with whole batches most processes idle at the end of an epoch
_died: set[int] = set()  # numbers of processes that could not be had, or were killed

Pixels = NDArray[np.uint8]  # (N, S, S, 3)


def stream(images: ImageDataset, batches: Sequence[NDArray[np.int64]], num_workers: int | None) -> Iterator[Pixels]:
    """The pixels of each batch, in order; decoded by threads, or where there are many cores by processes.

    Raises:
        RunFailed: where an image can no longer be read.
    """
    number = num_decoders(num_workers)
    if number <= MOST_THREADS or len(batches) < number or number in _died:
        yield from _by_threads(images, batches, number)
        return
    done = 0
    try:
        for pixels in _by_processes(images, batches, number):
            yield pixels
            done += 1
    except (BrokenProcessPool, OSError, NotImplementedError):  # killed, no room for them, a script without a guard
        _died.add(number)
        _processes.cache_clear()
        log.warning("the processes that decode images died; going on in this one")
        yield from _by_threads(images, batches[done:], number)


def _by_threads(images: ImageDataset, batches: Sequence[NDArray[np.int64]], number: int) -> Iterator[Pixels]:
    """Pillow frees Python's lock as it decodes, so that a few processes would only add their start and copies."""
    source, size = images.pixels.source, images.pixels.image_size
    pending: deque[list[Future[Pixels]]] = deque()
    with ThreadPoolExecutor(min(number, MOST_THREADS)) as pool:
        for indices in batches:
            pending.append([pool.submit(_read, source, size, [images.photographs[index]]) for index in indices])
            if len(pending) > AHEAD:
                yield np.concatenate([future.result() for future in pending.popleft()])
        while pending:
            yield np.concatenate([future.result() for future in pending.popleft()])


def _by_processes(images: ImageDataset, batches: Sequence[NDArray[np.int64]], number: int) -> Iterator[Pixels]:
    """Pixels come through a file in memory: through the pool's own pipe they would come at half the rate."""
    source, size = images.pixels.source, images.pixels.image_size
    image_bytes, largest = size * size * 3, max(map(len, batches))
    ahead = AHEAD + 2 * number * PIECE // largest  # two pieces for each process
    pool, (file, path) = _processes(number), _file_in_memory()
    target = path, _identity(file)
    pending: deque[tuple[int, int, list[Future[None]]]] = deque()  # place in the file, images

    def oldest() -> Pixels:
        place, count, futures = pending[0]
        for future in futures:
            future.result()
        pending.popleft()
        file.seek(place)
        return np.fromfile(file, np.uint8, count * image_bytes).reshape(count, size, size, 3)

    try:
        for batch, indices in enumerate(batches):
            place = batch % (ahead + 1) * largest * image_bytes
            photographs = [images.photographs[index] for index in indices]
            futures = [
                pool.submit(
                    _write, *target, place + start * image_bytes, source, size, photographs[start : start + PIECE]
                )
                for start in range(0, len(photographs), PIECE)
            ]
            pending.append((place, len(photographs), futures))
            if len(pending) > ahead:
                yield oldest()
        while pending:
            yield oldest()
    finally:
        for _, _, futures in pending:
            for future in futures:
                future.cancel()
        file.close()


class _Decoder(SpawnProcess):
    def terminate(self) -> None:
        self.kill()  # of the signal that is meant it would not hear


class _Decoders(SpawnContext):
    Process = _Decoder


@cache
def _processes(number: int) -> ProcessPoolExecutor:
    """Kept for the epochs to come; spawned, so that they hold nothing of this process, such as its pipes."""
    return ProcessPoolExecutor(number, mp_context=_Decoders(), initializer=_serve)


def _file_in_memory() -> tuple[IO[bytes], str]:
    """An empty file without a name, and where processes of this user can open it; where it cannot be had, on a disk."""
    try:
        file = os.fdopen(os.memfd_create("pixels"), "r+b", buffering=0)
    except (AttributeError, OSError):
        named = tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115  # closed by who asked for it
        return named, named.name
    return file, f"/proc/{os.getpid()}/fd/{file.fileno()}"


def _identity(file: IO[bytes]) -> tuple[int, int]:
    known = os.fstat(file.fileno())
    return known.st_dev, known.st_ino


def _serve() -> None:
    """In a process that decodes: it ends with the one that started it, which alone hears of signals to stop."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    exit_with_parent()


def _write(
    path: str,
    identity: tuple[int, int],
    place: int,
    source: Source,
    image_size: int,
    photographs: Sequence[ImageRecord],
) -> None:
    pixels = _read(source, image_size, photographs)
    with Path(path).open("r+b") as file:
        if _identity(file) == identity:  # else the stream has been left, and this is some other file of its process
            file.seek(place)
            file.write(pixels.data)


def _read(source: Source, image_size: int, photographs: Sequence[ImageRecord]) -> Pixels:
    pixels = []
    for photograph in photographs:
        try:
            pixels.append(source.read(photograph, image_size))
        except BadImage as error:  # it could be read when the run began
            raise RunFailed(f"data: {photograph.name}: {error}") from None
    return np.stack(pixels)
