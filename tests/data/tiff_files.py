"""TIFF files written byte by byte: every depth, sample format, byte order and order of planes."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

WIDTHS = {"H": 2, "I": 4, "d": 8}
ByteOrder = Literal["<", ">"]
TYPES = {"H": 3, "I": 4, "d": 12}  # of TIFF, by struct format
DEFLATE = 8


def tiff(
    pixels: NDArray[np.generic],
    *,
    photometric: int = 1,
    planar: int = 1,
    byte_order: ByteOrder = "<",
    compression: int = 1,
    bits: int | None = None,
    tags: Mapping[int, int] | None = None,
) -> bytes:
    """Return a TIFF file of an array (H, W) or (H, W, C); `tags` adds tags of one 16-bit integer.

    `bits` of 12 packs the samples.
    """
    samples = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = samples.shape
    planes = [samples] if planar == 1 else [samples[..., channel] for channel in range(channels)]
    strips = [_encode(plane, byte_order, bits, compression) for plane in planes]
    sample_format = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    depth = bits or 8 * samples.dtype.itemsize
    entries: dict[int, tuple[str, Sequence[int]]] = {tag: ("H", [value]) for tag, value in (tags or {}).items()}
    entries |= {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [depth] * channels), 259: ("H", [compression]),
        262: ("H", [photometric]), 273: ("I", [0] * len(strips)), 277: ("H", [channels]), 278: ("I", [height]),
        279: ("I", [len(strip) for strip in strips]), 284: ("H", [planar]), 339: ("H", [sample_format] * channels),
    }  # fmt: skip
    start = 8 + 2 + 12 * len(entries) + 4  # of the values that do not fit into their entry
    large = sum(len(values) * WIDTHS[kind] for kind, values in entries.values() if len(values) * WIDTHS[kind] > 4)
    offsets = np.cumsum([start + large, *(len(strip) for strip in strips)]).tolist()
    entries[273] = ("I", offsets[:-1])
    directory, outside = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{byte_order}{len(values)}{kind}", *values)
        head = struct.pack(f"{byte_order}HHI", tag, TYPES[kind], len(values))
        if len(packed) > 4:
            directory += head + struct.pack(f"{byte_order}I", start + len(outside))
            outside += packed
        else:
            directory += head + packed.ljust(4, b"\0")
    header = (b"II*\0" if byte_order == "<" else b"MM\0*") + struct.pack(f"{byte_order}IH", 8, len(entries))
    return header + directory + bytes(4) + outside + b"".join(strips)


def _encode(samples: NDArray[np.generic], byte_order: ByteOrder, bits: int | None, compression: int) -> bytes:
    if bits == 12:
        rows = samples.reshape(len(samples), -1).astype(">u2")
        each = np.unpackbits(rows.view(np.uint8).reshape(*rows.shape, 2), axis=2)[:, :, 4:]
        content = np.packbits(each.reshape(len(rows), -1), axis=1).tobytes()
    else:
        content = samples.astype(samples.dtype.newbyteorder(byte_order)).tobytes()
    return zlib.compress(content) if compression == DEFLATE else content
