"""Batches decoded from their files, ahead of the training: for a set that is too large for the cache."""

import logging
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
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
        pending: deque[list[Future[Pixels]]] = deque()
        for indices in batches:
            source, size = images.pixels.source, images.pixels.image_size
            pending.append([pool.submit(_read_one, source, size, images.photographs[index]) for index in indices])
            if len(pending) > AHEAD:
                yield np.stack([future.result() for future in pending.popleft()])
        while pending:
            yield np.stack([future.result() for future in pending.popleft()])


def _by_processes(images: ImageSet, batches: Sequence[NDArray[np.int64]], number: int) -> Iterator[Pixels]:
    """Each process decodes whole batches."""
    pool = _processes(number)
    pending: deque[Future[Pixels]] = deque()
    for indices in batches:
        photographs = [images.photographs[index] for index in indices]
        pending.append(pool.submit(_read, images.pixels.source, images.pixels.image_size, photographs))
        if len(pending) > number:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


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
    return np.stack([_read_one(source, image_size, photograph) for photograph in photographs])


def _read_one(source: Source, image_size: int, photograph: Photograph) -> Pixels:
    try:
        return source.read(photograph, image_size)
    except BadImage as error:  # it could be read when the run began
        raise RunFailed(f"data: {photograph.name}: {error}") from None
