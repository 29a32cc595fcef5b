"""Photographs decoded once: one memory-mapped array of pixels, shared by all runs and processes.

The file is named by what it holds (digests, image size, versions of the decoder), so it is current by
construction. It is built under a lock by the first process that needs it, from what other arrays hold already and the
files of the rest, and appears whole.
"""

import errno
import hashlib
import json
import logging
import math
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import Runtime
from crackdet.core.console import ON_BAR, bar
from crackdet.core.errors import UserError
from crackdet.core.files import write_json
from crackdet.core.locks import lock_with_notice
from crackdet.data import cache_index, decode
from crackdet.data.cache_gc import mark_used
from crackdet.data.sources import ImageRecord, Source

log = logging.getLogger(__name__)

CHUNK = 64  # images to one task of a worker
WORTH_WORKERS = 512  # images: below, starting processes costs more than it saves


@dataclass(frozen=True)
class DecodedImages:
    """Pixels of a set of photographs, from the cache or, where the set is too large for it, from their files."""

    source: Source
    image_size: int
    file: Path | None  # None: streamed
    rows: dict[str, int]  # digest -> row of the array
    bad: Mapping[str, str]  # digest -> why it cannot be read
    opened: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    @property
    def array(self) -> NDArray[np.uint8]:
        """(images, size, size, 3), mapped: its pages are shared between processes."""
        assert self.opened is not None, "streamed photographs have no array"
        return self.opened

    def read(self, photograph: ImageRecord) -> NDArray[np.uint8]:
        """One photograph, (size, size, 3): the same pixels from the cache as from its file."""
        if self.file is not None:
            pixels: NDArray[np.uint8] = self.array[self.rows[photograph.digest]]
            return pixels
        return self.source.read(photograph, self.image_size)


def decode_all(source: Source, photographs: Sequence[ImageRecord], image_size: int, runtime: Runtime) -> DecodedImages:
    """Every photograph decoded, now or at an earlier call; what cannot be read is listed in `bad`.

    Raises:
        UserError: where the cache folder cannot be written.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # a worker of ours imports the user's script, which asks for the images again: it would wait for its parent
        raise RuntimeError('put what the script does under `if __name__ == "__main__":`')
    unique = {photograph.digest: photograph for photograph in photographs}
    digests = sorted(unique)
    items = {digest: unique[digest] for digest in digests}
    shape = (len(digests), image_size, image_size, 3)
    size = math.prod(shape)
    rows = {digest: row for row, digest in enumerate(digests)}
    streamed = size > runtime.cache_gib * 2**30
    name = hashlib.sha256(json.dumps([*decode.VERSIONS, image_size, digests]).encode()).hexdigest()[:24]
    folder = Path(runtime.cache).expanduser() / "pixels"
    target = None if streamed else folder / f"{name}.npy"
    notes = folder / (f"{name}.streamed.json" if streamed else f"{name}.json")
    if streamed:
        log.info(
            "%d images of %d pixels a side are %.1f GiB decoded, over runtime.cache_gib=%g: streaming them from "
            "their files", len(digests), image_size, size / 2**30, runtime.cache_gib
        )  # fmt: skip
    workers = decode.num_decoders(runtime.num_workers)
    try:
        current = _current(source, unique, target, notes, shape)
        if current is None:
            folder.mkdir(parents=True, exist_ok=True)
            with lock_with_notice(folder / f"{name}.lock", "another process decodes these images"):
                current = _current(source, unique, target, notes, shape)  # another process may have built it meanwhile
                current = current or _build(source, items, image_size, target, notes, workers)
    except OSError as error:
        if streamed:  # nothing has to be written
            bad = _decode_missing(source, list(items.values()), image_size, None, rows, workers)
            return DecodedImages(source, image_size, None, rows, bad)
        raise UserError(
            f"runtime.cache={runtime.cache}: decoded images cannot be written there ({error}); "
            f"{size / 2**20:.0f} MiB are needed; give another folder, or runtime.cache_gib=0 to do without"
        ) from None
    mark_used(notes)
    return DecodedImages(source, image_size, target, rows, *current)


Current = tuple[dict[str, str], NDArray[np.uint8] | None]  # what is bad, and the array of what is not


def _current(
    source: Source,
    photographs: Mapping[str, ImageRecord],
    target: Path | None,
    notes: Path,
    shape: tuple[int, int, int, int],
) -> Current | None:
    """What an earlier call left; None where its array or its notes are missing or damaged."""
    try:
        text = notes.read_bytes()
        array = None if target is None else cache_index.open_array(target, shape)
        if (array is None and target is not None) or notes.read_bytes() != text:  # made again meanwhile
            return None
        noted = json.loads(text)["bad"].keys()
        # looked at again: a file may have been out of reach, and is known to be bad by content, not by name
        bad = _decode_chunk(source, [photographs[digest] for digest in noted], shape[1], None, [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (bad, array) if bad.keys() == noted else None


def _build(
    source: Source,
    photographs: Mapping[str, ImageRecord],
    image_size: int,
    target: Path | None,
    notes: Path,
    workers: int,
) -> Current:
    """Decodes what is not decoded yet into a file beside `target`, then renames it; notes what could not be read.

    The file has one name, not one for each process: it is written under a lock, and what a process has done that was
    stopped, another goes on from.
    """
    rows = {digest: row for row, digest in enumerate(photographs)}
    if target is None:
        bad = _decode_missing(source, list(photographs.values()), image_size, None, rows, workers)
        write_json(notes, {"bad": bad})
        return bad, None
    temporary = target.with_name(f".{target.name}.tmp")
    kind = [*decode.VERSIONS, image_size]
    shape = (len(photographs), image_size, image_size, 3)
    try:
        known = cache_index.done(temporary, kind, shape)
        if not known:
            cache_index.begin(temporary, kind)  # before there is an array that an older list could be believed of
            _reserve(temporary, shape)
        wanted = {digest: row for digest, row in rows.items() if digest not in known}
        copied = cache_index.copy_known(target.parent, kind, wanted, temporary)
        cache_index.say_done(temporary, sorted(copied))
        missing = [photographs[digest] for digest in wanted if digest not in copied]
        if missing and len(missing) < len(photographs):
            log.info("%d of %d images are decoded already", len(photographs) - len(missing), len(photographs))
        bad = _decode_missing(source, missing, image_size, temporary, rows, workers)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        target.unlink(missing_ok=True)
        write_json(notes, {"bad": bad})
        cache_index.say_rows(target, kind, list(photographs), bad)
        temporary.replace(target)
        cache_index.rows_file(temporary).unlink()
    except OSError:  # no room, most often: then what is there takes it from others
        temporary.unlink(missing_ok=True)
        cache_index.rows_file(temporary).unlink(missing_ok=True)
        raise
    return bad, cache_index.open_array(target, shape)


def _decode_missing(
    source: Source,
    photographs: Sequence[ImageRecord],
    image_size: int,
    file: Path | None,
    rows: Mapping[str, int],
    workers: int,
) -> dict[str, str]:
    bad: dict[str, str] = {}
    if len(photographs) >= WORTH_WORKERS:
        gib = len(photographs) * image_size**2 * 3 / 2**30
        into = f", {gib:.1f} GiB, into {file.parent}" if file is not None else ""
        log.info("decoding %d images of %d pixels a side%s", len(photographs), image_size, into, extra=ON_BAR)
    left = deque(
        (source, part, image_size, file, [rows[one.digest] for one in part] if file is not None else [])
        for part in (photographs[start : start + CHUNK] for start in range(0, len(photographs), CHUNK))
    )
    with bar("decoding images", len(photographs), told=True) as progress:

        def end(failed: dict[str, str]) -> None:
            _, part, *_ = left.popleft()
            bad.update(failed)
            if file is not None:
                cache_index.say_done(file, [one.digest for one in part if one.digest not in failed])
            progress.advance(len(part))

        if workers >= 2 and len(photographs) >= WORTH_WORKERS:
            # spawned, not forked: a forked child would inherit locks and threads
            spawn = multiprocessing.get_context("spawn")
            others = set(multiprocessing.active_children())
            pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=decode.exit_with_parent)
            try:
                for future in [pool.submit(_decode_chunk, *task) for task in left]:
                    end(future.result())
            except BrokenProcessPool:  # killed, or a script that cannot be imported
                log.warning("the processes that decode images died; going on in this one")
            except BaseException:  # who stops it does not want to wait, and may stop it twice
                for process in set(multiprocessing.active_children()) - others:
                    process.kill()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
        while left:
            end(_decode_chunk(*left[0]))
    return bad


def _reserve(file: Path, shape: tuple[int, ...]) -> None:
    """Makes an empty array with all its room on the disk, since a full one kills whoever writes to a mapped file.

    Raises:
        OSError: where there is no room.
    """
    file.unlink(missing_ok=True)  # of a process that was killed
    if shutil.disk_usage(file.parent).free < math.prod(shape):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("rb+") as opened:
            try:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # a file system that cannot
                    raise


def _decode_chunk(
    source: Source, photographs: Sequence[ImageRecord], image_size: int, file: Path | None, rows: Sequence[int]
) -> dict[str, str]:
    """Why photographs cannot be read, by digest; the pixels of the others go into these rows of an array."""
    array = None if file is None else np.load(file, mmap_mode="r+")
    bad: dict[str, str] = {}
    for place, photograph in enumerate(photographs):
        try:
            pixels = source.read(photograph, image_size)
        except decode.BadImage as error:
            bad[photograph.digest] = str(error)
        else:
            if array is not None:
                array[rows[place]] = pixels
    if array is not None:
        array.flush()
    return bad
