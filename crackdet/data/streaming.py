"""Batches decoded from their files, ahead of the training: for a set that is too large for the cache."""

import logging
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.context import SpawnContext, SpawnProcess

import numpy as np
from numpy.typing import NDArray

from crackdet.data import ImageSet
from crackdet.data.decode import BadImage, decoders, end_with_parent
from crackdet.data.sources import Photograph, Source
from crackdet.errors import RunFailed

log = logging.getLogger(__name__)

MOST_THREADS = 4  # that decode side by side: more of them wait for Python's lock
AHEAD = 3  # batches that threads decode in advance
PIECE = 8  # images of a batch to one task of a process: with whole batches most processes idle at the end of an epoch
_died: set[int] = set()  # numbers of processes that could not be had, or were killed

Pixels = NDArray[np.uint8]  # (N, S, S, 3)


def stream(images: ImageSet, batches: Sequence[NDArray[np.int64]], num_workers: int | None) -> Iterator[Pixels]:
    """The pixels of each batch, in order; decoded by threads, or where there are many cores by processes.

    Raises:
        RunFailed: where an image can no longer be read.
    """
    number = decoders(num_workers)
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


def _by_threads(images: ImageSet, batches: Sequence[NDArray[np.int64]], number: int) -> Iterator[Pixels]:
    """Pillow frees Python's lock as it decodes, so that a few processes would only add their start and copies."""
    with ThreadPoolExecutor(min(number, MOST_THREADS)) as pool:
        yield from _ahead(pool, images, batches, 1, AHEAD)


def _by_processes(images: ImageSet, batches: Sequence[NDArray[np.int64]], number: int) -> Iterator[Pixels]:
    yield from _ahead(_processes(number), images, batches, PIECE, number)


def _ahead(
    pool: Executor, images: ImageSet, batches: Sequence[NDArray[np.int64]], piece: int, ahead: int
) -> Iterator[Pixels]:
    """Batches from tasks of so many images each, while so many batches more are decoded in advance."""
    source, size = images.pixels.source, images.pixels.image_size
    pending: deque[list[Future[Pixels]]] = deque()

    def oldest() -> Pixels:
        return np.concatenate([future.result() for future in pending.popleft()])

    for indices in batches:
        photographs = [images.photographs[index] for index in indices]
        pieces = (photographs[start : start + piece] for start in range(0, len(photographs), piece))
        pending.append([pool.submit(_read, source, size, one) for one in pieces])
        if len(pending) > ahead:
            yield oldest()
    while pending:
        yield oldest()


class _Decoder(SpawnProcess):
    def terminate(self) -> None:
        self.kill()  # of the signal that is meant it would not hear


class _Decoders(SpawnContext):
    Process = _Decoder


@cache
def _processes(number: int) -> ProcessPoolExecutor:
    """Kept for the epochs to come; spawned, so that they hold nothing of this process, such as its pipes."""
    return ProcessPoolExecutor(number, mp_context=_Decoders(), initializer=_serve)


def _serve() -> None:
    """In a process that decodes: it ends with the one that started it, which alone hears of signals to stop."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    end_with_parent()


def _read(source: Source, image_size: int, photographs: Sequence[Photograph]) -> Pixels:
    pixels = []
    for photograph in photographs:
        try:
            pixels.append(source.read(photograph, image_size))
        except BadImage as error:  # it could be read when the run began
            raise RunFailed(f"data: {photograph.name}: {error}") from None
    return np.stack(pixels)
