"""What is decoded already: in the arrays of other sets of images, and in one that was stopped half-way.

Beside each array `<name>.npy` lies `<name>.rows`: what pixels it holds (their size, the versions of the decoder), and
the digest of the photograph in each row, empty where it could not be read. Beside one that is being made lies the same
of the photographs that are done. An array appears after what is said of it, and goes before: it never lies beside what
is said of another.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdet.core.files import write_text

AT_ONCE = 256  # rows that are copied together


def rows_file(array: Path) -> Path:
    """Of an array, or of one that is being made."""
    return array.with_suffix(".rows")


def open_array(file: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8] | None:
    """The pixels (images, size, size, 3) in a file, mapped; None where it is missing, damaged or of another shape."""
    try:
        array = np.load(file, mmap_mode="r")  # of what may be written the kernel counts all pages
    except Exception:  # whatever a damaged header provokes: numpy takes it for an archive, or for a program
        return None
    right = array.dtype == np.uint8 and array.ndim == 4 and shape in (None, array.shape)
    return array if right else None


def say_rows(array: Path, kind: Sequence[Any], digests: Sequence[str], bad: Collection[str]) -> None:
    """Notes which photographs an array of this kind holds, in the order of its rows; `bad` ones it does not."""
    write_text(rows_file(array), "\n".join([json.dumps(kind), *("" if one in bad else one for one in digests)]))


def begin(unfinished: Path, kind: Sequence[Any]) -> None:
    """Begins the list of what is done of an array that is being made."""
    rows_file(unfinished).write_text(json.dumps(kind) + "\n")


def say_done(unfinished: Path, digests: Sequence[str]) -> None:
    """Adds photographs to it, whose pixels have been written."""
    with rows_file(unfinished).open("a") as file:
        file.write("".join(f"{digest}\n" for digest in digests))


def done(unfinished: Path, kind: Sequence[Any], shape: tuple[int, ...]) -> set[str]:
    """The photographs whose pixels stand in an array that was not finished; empty where there is none of this shape."""
    try:
        lines = rows_file(unfinished).read_text().split("\n")
    except (OSError, ValueError):
        return set()
    if open_array(unfinished, shape) is None or lines[0] != json.dumps(kind):
        return set()
    return set(lines[1:-1])  # the last line is empty, or was being written


def copy_known(folder: Path, kind: Sequence[Any], wanted: Mapping[str, int], to: Path) -> set[str]:
    """Copies pixels of the same kind from the arrays in a folder into one; gives the photographs that were there.

    `wanted` are rows of that array by the digests of their photographs.
    """
    target: np.memmap[Any, np.dtype[np.uint8]] | None = None
    copied: set[str] = set()
    for listed in folder.glob("[!.]*.rows"):
        if len(copied) == len(wanted):
            break
        held = _held(listed, kind)
        if held is None:
            continue
        pixels, rows = held
        both = [(digest, row) for digest, row in rows.items() if digest in wanted and digest not in copied]
        if both and target is None:
            target = np.load(to, mmap_mode="r+")
        for start in range(0, len(both), AT_ONCE):
            part = both[start : start + AT_ONCE]
            assert target is not None
            target[[wanted[digest] for digest, _ in part]] = pixels[[row for _, row in part]]
        copied.update(digest for digest, _ in both)
    if target is not None:
        target.flush()
    return copied


def _held(listed: Path, kind: Sequence[Any]) -> tuple[NDArray[np.uint8], dict[str, int]] | None:
    """An array of this kind and its rows by the digests of their photographs; None where there is none."""
    try:
        text = listed.read_text()
        first, *digests = text.split("\n")
        size = kind[-1]
        pixels = open_array(listed.with_suffix(".npy"), (len(digests), size, size, 3))
        same = listed.read_text() == text  # else it was made again meanwhile
    except (OSError, ValueError):
        return None
    if pixels is None or first != json.dumps(kind) or not same:
        return None
    return pixels, {digest: row for row, digest in enumerate(digests) if digest}
