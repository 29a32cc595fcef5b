"""Yes or no for each of many images, as a short text: eight images a byte, in base64."""

import base64
import binascii

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def pack(bits: Bools) -> str:
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def unpack(text: str, number: int) -> Bools | None:
    """So many bits; None where the text does not hold them."""
    try:
        raw = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        return None
    return np.unpackbits(raw, count=number).astype(bool) if len(raw) == -(-number // 8) else None
