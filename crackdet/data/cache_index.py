"""The index of a cached array: which images it holds, so that other arrays can copy rows and a build can continue.

The index of `<name>.npy` is `<name>.rows`. Its first line is a header (versions of the decoder, image size), followed
by the digest of each row, or an empty line if that image could not be read. The index of an array that is being built
lists, after the same header, the digests that are done so far. The index is written before its array and removed after
it, so an array never lies beside the index of another one.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdet.core.files import write_text
from crackdet.data.mapped_files import open_mapped

COPY_CHUNK = 256  # rows copied at once


def index_file(array_file: Path) -> Path:
    """Return the path of the index of an array, finished or not."""
    return array_file.with_suffix(".rows")


def open_array(file: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8] | None:
    """Return the memory-mapped array (images, size, size, 3); None if it is missing, damaged or of another shape."""
    array = open_mapped(file)
    if array is None:
        return None
    valid = array.dtype == np.uint8 and array.ndim == 4 and shape in (None, array.shape)
    return array if valid else None


def write_index(array_file: Path, header: Sequence[Any], digests: Sequence[str], unreadable: Collection[str]) -> None:
    """Write the index of a finished array; `digests` are in the order of its rows."""
    lines = ["" if digest in unreadable else digest for digest in digests]
    write_text(index_file(array_file), "\n".join([json.dumps(header), *lines]))


def start(unfinished: Path, header: Sequence[Any]) -> None:
    """Start the index of an array that is being built."""
    index_file(unfinished).write_text(json.dumps(header) + "\n")


def append_done(unfinished: Path, digests: Sequence[str]) -> None:
    """Append images whose pixels have been written to an array that is being built."""
    with index_file(unfinished).open("a") as file:
        file.write("".join(f"{digest}\n" for digest in digests))


def read_done(unfinished: Path, header: Sequence[Any], shape: tuple[int, ...]) -> set[str]:
    """Return the digests that are done in an unfinished array; none if the array or its index does not fit."""
    try:
        lines = index_file(unfinished).read_text().split("\n")
    except (OSError, ValueError):
        return set()
    if open_array(unfinished, shape) is None or lines[0] != json.dumps(header):
        return set()
    return set(lines[1:-1])  # the last line is empty or incomplete


def copy_cached(folder: Path, header: Sequence[Any], wanted: Mapping[str, int], to: Path) -> set[str]:
    """Copy rows from the finished arrays in a folder that have the same header, and return the copied digests.

    `wanted` maps each wanted digest to its row in the array `to`.
    """
    target = np.load(to, mmap_mode="r+")
    copied: set[str] = set()
    for index in folder.glob("[!.]*.rows"):
        if len(copied) == len(wanted):
            break
        if (indexed := _open_indexed(index, header)) is None:
            continue
        pixels, rows = indexed
        shared = [(digest, row) for digest, row in rows.items() if digest in wanted and digest not in copied]
        for first in range(0, len(shared), COPY_CHUNK):
            part = shared[first : first + COPY_CHUNK]
            target[[wanted[digest] for digest, _ in part]] = pixels[[row for _, row in part]]
        copied.update(digest for digest, _ in shared)
    target.flush()
    return copied


def _open_indexed(index: Path, header: Sequence[Any]) -> tuple[NDArray[np.uint8], dict[str, int]] | None:
    """Return an array and its rows by digest; None if the array is damaged or has another header."""
    try:
        text = index.read_text()
        first, *digests = text.split("\n")
        image_size = header[-1]
        pixels = open_array(index.with_suffix(".npy"), (len(digests), image_size, image_size, 3))
        unchanged = index.read_text() == text  # else another process has just rebuilt the array
    except (OSError, ValueError):
        return None
    if pixels is None or first != json.dumps(header) or not unchanged:
        return None
    return pixels, {digest: row for row, digest in enumerate(digests) if digest}
