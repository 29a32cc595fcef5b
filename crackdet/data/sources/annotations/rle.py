"""The bounding box of a run-length encoded (RLE) mask of COCO.

The runs alternate between background and mask, column by column. In a compressed mask they are text: each character has
five bits of a number and a bit that says whether more follow, and from the third run on a number is the difference to
the last run but one. Source: `rleFrString` in cocoapi/common/maskApi.c.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def rle_bounds(mask: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom; right and bottom are exclusive.

    Raises:
        ValueError: If it is no such mask, or the mask is empty.
    """
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and 0 < side < 2**20 for side in size):
        raise ValueError("its run-length encoding has no size")
    runs = _decompress(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run < 2**40 for run in runs):
        raise ValueError("its run-length encoding has no valid counts")
    height, width = size
    edges = np.cumsum(runs)
    if not runs or edges[-1] != height * width:
        raise ValueError(f"its run-length encoding does not fill {width}x{height} pixels")
    starts, ends = edges[: len(edges) - 1 : 2], edges[1::2]
    starts, ends = starts[starts < ends], ends[starts < ends]
    if len(starts) == 0:
        raise ValueError("its mask is empty")
    first, last = starts // height, (ends - 1) // height  # columns
    spans = first != last  # a run over several columns reaches the top and the bottom
    top = 0 if spans.any() else int((starts % height).min())
    bottom = height if spans.any() else int(((ends - 1) % height).max()) + 1
    return float(first.min()), float(top), float(last.max()) + 1.0, float(bottom)


def _decompress(text: str) -> Sequence[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("its run-length encoding has no valid counts")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last character of a number
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
