"""Bits of many images as a short text: eight images a byte, in base64."""

import base64
import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


def encode(bits: Bools) -> str:
    """Encode bits as text."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def decode(texts: Sequence[str | None], number: int) -> tuple[Bytes, Bools]:
    """Decode texts of this many bits each.

    Returns:
        The bits, still eight a byte (texts, bytes), and which texts are valid (texts,); the others give zeros.
    """
    size = -(-number // 8)
    rows = [_decode(text) for text in texts]
    valid = np.array([len(row) == size for row in rows], bool)
    joined = b"".join(row if fits else bytes(size) for row, fits in zip(rows, valid, strict=True))
    packed = np.frombuffer(joined, np.uint8).reshape(len(rows), size)
    return packed & np.packbits(np.ones(number, bool)), valid  # clears the unused bits of the last byte


def unpack(packed: Bytes, number: int) -> Bools:
    """Return the bits (..., number) of bytes (..., bytes)."""
    return np.unpackbits(packed, axis=-1, count=number).astype(bool)


def count_set(packed: Bytes) -> NDArray[np.int64]:
    """Return the number of set bits in each row of bytes (..., bytes)."""
    counts: NDArray[np.int64] = np.bitwise_count(packed).sum(axis=-1, dtype=np.int64)
    return counts


def _decode(text: str | None) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except (binascii.Error, TypeError, ValueError):
        return b""
