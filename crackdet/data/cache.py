"""The cache of decoded images: one memory-mapped array per set of images, shared by all runs and processes.

The first process that needs an array builds it under a lock, from the rows of other arrays and from the image files,
and renames it into place. Its name is a hash of its content (digests, image size, versions of the decoder), so it is
never out of date. The files in `<runtime.cache>/pixels`:

    <name>.npy            array (images, size, size, 3) of bytes, one row per distinct digest, sorted by digest
    <name>.json           sidecar: the unreadable images; its modification time is the time of last use
    <name>.rows           index: the digest of each row, see `cache_index`
    <name>.lock           held while the array is built or deleted
    <name>.streamed.json  sidecar of a set that is too large for the cache, and has no array
    .<name>.npy.tmp       array that is being built, with its index `.<name>.npy.rows`

If files of this name belong to another user and cannot be used, the name ends with `-<user id>`.
"""

import hashlib
import json
import logging
import math
import multiprocessing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackdet.config.schema import Runtime
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home, write_json
from crackdet.core.locks import lock_with_notice
from crackdet.core.machine import user_id
from crackdet.data import cache_index, decode
from crackdet.data.mapped_files import allocate
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import Source
from crackdet.data.workers import DecodeTask, run_in_chunks

log = logging.getLogger(__name__)

Content = tuple[dict[str, str], NDArray[np.uint8] | None]  # the unreadable images, and the array of the others


@dataclass(frozen=True)
class DecodedImages:
    """The pixels of a set of images: from the cache, or from the image files if the set is too large for the cache."""

    source: Source
    image_size: int
    file: Path | None  # None: streamed from the image files
    rows: dict[str, int]  # digest -> row of the array
    unreadable: Mapping[str, str]  # digest -> reason
    mapped: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    @property
    def array(self) -> NDArray[np.uint8]:
        """(images, size, size, 3), memory-mapped: processes share its pages."""
        assert self.mapped is not None, "streamed images have no array"
        return self.mapped

    def read(self, record: ImageRecord) -> NDArray[np.uint8]:
        """Return one image, (size, size, 3); the cache and the image file give the same pixels."""
        if self.file is not None:
            return np.asarray(self.array[self.rows[record.digest]])
        return self.source.read(record, self.image_size)


def decode_all(source: Source, records: Sequence[ImageRecord], image_size: int, runtime: Runtime) -> DecodedImages:
    """Decode all images, or open the array of an earlier call; `unreadable` lists the images that failed.

    Raises:
        UserError: If the cache folder cannot be written.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # a worker process that imports the user's script gets here again, and would wait for its parent
        raise RuntimeError('put the code of the script under `if __name__ == "__main__":`')
    cached = _CachedSet(source, records, image_size, runtime)
    if cached.array_file is None:
        log.info(
            "%d images of %d pixels a side are %.1f GiB decoded, over runtime.cache_gib=%g: streaming them from "
            "their files", len(cached.records), image_size, cached.num_bytes / 2**30, runtime.cache_gib
        )  # fmt: skip
    try:
        try:
            content = cached.open() or cached.build()
        except OSError as error:
            if not _is_forbidden(error):
                raise
            cached = _CachedSet(source, records, image_size, runtime, f"-{user_id()}")  # the others are another user's
            content = cached.open() or cached.build()
    except OSError as error:
        if cached.array_file is None:  # streaming works without a cache
            unreadable = run_in_chunks(cached.task(list(cached.records)), runtime.num_workers)
            return DecodedImages(source, image_size, None, cached.rows, unreadable)
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        raise UserError(
            f"runtime.cache={runtime.cache}: decoded images cannot be written to this folder ({reason}); "
            f"{cached.num_bytes / 2**20:.0f} MiB are needed; give another folder, or runtime.cache_gib=0 to stream "
            "images from their files"
        ) from None
    with suppress(OSError):  # a read-only cache
        cached.sidecar.touch()
    return DecodedImages(source, image_size, cached.array_file, cached.rows, *content)


def _is_forbidden(error: OSError) -> bool:
    """Return whether a file cannot be opened or replaced for lack of permission."""
    return isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError)


class _CachedSet:
    """A set of images, and its files in the cache."""

    def __init__(
        self, source: Source, records: Sequence[ImageRecord], image_size: int, runtime: Runtime, suffix: str = ""
    ) -> None:
        self.source = source
        unique = {record.digest: record for record in records}
        self.records = {digest: unique[digest] for digest in sorted(unique)}
        self.rows = {digest: row for row, digest in enumerate(self.records)}
        self.num_workers = runtime.num_workers
        self.header = [*decode.VERSIONS, image_size]
        self.shape = (len(self.records), image_size, image_size, 3)
        self.num_bytes = math.prod(self.shape)
        streamed = self.num_bytes > runtime.cache_gib * 2**30
        name = hashlib.sha256(json.dumps([*self.header, list(self.records)]).encode()).hexdigest()[:24] + suffix
        self.folder = expand_home(runtime.cache) / "pixels"
        self.lock_file = self.folder / f"{name}.lock"
        self.array_file = None if streamed else self.folder / f"{name}.npy"
        self.sidecar = self.folder / (f"{name}.streamed.json" if streamed else f"{name}.json")

    def task(self, digests: Sequence[str], array_file: Path | None = None) -> DecodeTask:
        """Return the task to decode some of the images, into their rows of an array if one is given."""
        records, rows = [self.records[digest] for digest in digests], [self.rows[digest] for digest in digests]
        return DecodeTask(self.source, records, rows, self.shape[1], array_file)

    def open(self) -> Content | None:
        """Return the content that an earlier call has built; None if a file is missing or damaged."""
        try:
            text = self.sidecar.read_bytes()
            array = None if self.array_file is None else cache_index.open_array(self.array_file, self.shape)
            if (array is None and self.array_file is not None) or self.sidecar.read_bytes() != text:  # just rebuilt
                return None
            noted = json.loads(text)["bad"].keys()
            # tried again: a file may have been out of reach, and its path may have changed
            unreadable = self.task(list(noted)).run()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return (unreadable, array) if unreadable.keys() == noted else None

    def build(self) -> Content:
        """Build the files under the lock, unless another process has built them meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock_with_notice(self.lock_file, "another process decodes these images"):
            if (content := self.open()) is not None:
                return content
            if self.array_file is not None:
                return self._build(self.array_file)
            unreadable = run_in_chunks(self.task(list(self.records)), self.num_workers)
            write_json(self.sidecar, {"bad": unreadable})
            return unreadable, None

    def _build(self, array_file: Path) -> Content:
        """Fill a temporary file and rename it; the file keeps its name, so that an interrupted build is continued."""
        temporary = array_file.with_name(f".{array_file.name}.tmp")
        try:
            done = cache_index.read_done(temporary, self.header, self.shape)
            if not done:
                cache_index.start(temporary, self.header)  # first: an old index must not describe the new array
                allocate(temporary, self.shape, np.uint8)
            wanted = {digest: row for digest, row in self.rows.items() if digest not in done}
            copied = cache_index.copy_cached(self.folder, self.header, wanted, temporary)
            cache_index.append_done(temporary, sorted(copied))
            missing = [digest for digest in wanted if digest not in copied]
            if missing and len(missing) < len(self.records):
                log.info("%d of %d images are cached", len(self.records) - len(missing), len(self.records))
            unreadable = run_in_chunks(self.task(missing, temporary), self.num_workers)
            array_file.unlink(missing_ok=True)
            write_json(self.sidecar, {"bad": unreadable})
            cache_index.write_index(array_file, self.header, list(self.records), unreadable)
            temporary.replace(array_file)
            cache_index.index_file(temporary).unlink()
        except OSError:  # usually a full disk: free the space
            temporary.unlink(missing_ok=True)
            cache_index.index_file(temporary).unlink(missing_ok=True)
            raise
        return unreadable, cache_index.open_array(array_file, self.shape)
